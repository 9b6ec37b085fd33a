//! The settings of measurements.

use std::time::Duration;

use crate::plan::UNDELIVERED_MAX;
use crate::protocol::ServerKind;

/// How much to measure.
pub struct Settings {
    /// How long a run publishes values.
    pub duration: Duration,
    /// Runs of each measurement.
    pub runs: usize,
    /// Number of subscribers, instead of what the scenario chooses.
    pub subscriber_count: Option<usize>,
    /// Maximum undelivered values of a subscriber while values are published as fast as possible.
    pub undelivered_max: usize,
    /// The servers to compare.
    pub kinds: Vec<ServerKind>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(3),
            runs: 3,
            subscriber_count: None,
            undelivered_max: UNDELIVERED_MAX,
            kinds: ServerKind::ALL.to_vec(),
        }
    }
}

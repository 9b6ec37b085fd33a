//! What a run publishes.

use std::time::Duration;

/// The event of the published values.
pub const EVENT: &str = "load.hot";

/// Default maximum of undelivered values. They are 30 KB a subscriber, a hundredth of Broker's
/// window, and fit every server's socket buffer.
pub const UNDELIVERED_MAX: usize = 64;

/// What a run publishes.
#[derive(Clone, Copy)]
pub struct Plan {
    /// How fast.
    pub pace: Pace,
    /// For how long.
    pub duration: Duration,
    /// Number of subscribers that listen to [`EVENT`].
    pub listeners: usize,
    /// Maximum undelivered values of a subscriber while values are published as fast as they are
    /// acknowledged.
    ///
    /// Broker acknowledges durable values, even unread ones, so without this limit publishers would
    /// outrun subscribers until values are superseded, but deliveries of every value are counted.
    pub undelivered_max: usize,
}

/// How fast values are published.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// This many values in flight, unless too many are undelivered.
    InFlight(usize),
    /// This many a second, even when earlier ones are not acknowledged.
    PerSecond(f64),
}

impl Plan {
    /// A plan with the default maximum of undelivered values.
    pub fn new(pace: Pace, duration: Duration, listeners: usize) -> Self {
        Self { pace, duration, listeners, undelivered_max: UNDELIVERED_MAX }
    }
}

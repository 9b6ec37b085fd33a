//! Ends acknowledging when an append does not return, or when a projection that was opened late
//! shows that the log has lost records.

use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use crate::broker::lifecycle::worker::WorkerStop;
use crate::order::{FailStop, Order};
use crate::projection::ProjectionHandle;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// An append that is seen this often will not return: the slowest disks that work take a second.
/// Looks are counted instead of time, because the whole process may have been suspended. Including
/// its shutdown, a server whose disk hangs is gone within 11 s.
const LOOKS_MAX: u32 = 16;

/// What is watched, and how acknowledging is ended.
pub struct Watchdog {
    pub order: Arc<dyn Order>,
    pub projection: ProjectionHandle,
    pub fail_stop: FailStop,
}

impl Watchdog {
    /// Looks until the appender is gone.
    pub fn run(self, stop: &WorkerStop) {
        let (mut seen, mut looks) = (None, 0);
        while stop.rest(LOOK) && self.fail_stop.is_appending() {
            if self.projection.reports_data_loss() {
                error!(
                    "the log lacks records that the history holds; nothing more is acknowledged"
                );
                return self.fail_stop.fail();
            }
            let append = self.order.append_began();
            looks = if append.is_some() && append == seen { looks + 1 } else { 0 };
            seen = append;
            if looks >= LOOKS_MAX {
                error!("a write or sync of the log does not return; nothing more is acknowledged");
                return self.fail_stop.fail();
            }
        }
    }
}

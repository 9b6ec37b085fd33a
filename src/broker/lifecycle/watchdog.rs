//! Watches the append that runs, for a disk that hangs answers neither well nor badly, and what the
//! projection finds when it was opened beside the serving.

use std::time::Duration;

use tracing::error;

use crate::broker::lifecycle::fail_stop::FailStop;
use crate::broker::lifecycle::worker::WorkerStop;
use crate::projection::ProjectionHandle;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(500);

/// An append that is seen so often will not return: the slowest disks that work take a second. It
/// is counted what was seen, not what a clock says, for the whole process may have stood still.
/// With the time to end, a server that hangs is gone within 11 s.
const LOOKS_MAX: u32 = 16;

/// Looks until there is nothing to watch.
pub fn run(alarm: &FailStop, projection: &ProjectionHandle, rest: &WorkerStop) {
    let (mut seen, mut looks) = (None, 0);
    while rest.rest(LOOK) && alarm.is_of_use() {
        if projection.proves_loss() {
            error!("the log has lost records that the history holds; nothing more is acknowledged");
            return alarm.raise();
        }
        let append = alarm.appends.running();
        looks = if append.is_some() && append == seen { looks + 1 } else { 0 };
        seen = append;
        if looks >= LOOKS_MAX {
            error!("a write or sync of the log does not return; nothing more is acknowledged");
            return alarm.raise();
        }
    }
}

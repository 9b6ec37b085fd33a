//! Watches the append that runs: a disk that hangs answers neither well nor badly.

use std::time::Duration;

use tracing::error;

use super::alarm::Alarm;
use super::worker::Rest;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(500);

/// An append that is seen so often will not return: the slowest disks that work take a second. It
/// is counted what was seen, not what a clock says, for the whole process may have stood still.
/// With the time to end, a server that hangs is gone within 11 s.
const LOOKS_MAX: u32 = 16;

/// Looks until there is nothing to watch.
pub(super) fn run(alarm: &Alarm, rest: &Rest) {
    let (mut seen, mut looks) = (None, 0);
    while rest.rest(LOOK) && alarm.is_of_use() {
        let append = alarm.appends.running();
        looks = if append.is_some() && append == seen { looks + 1 } else { 0 };
        seen = append;
        if looks >= LOOKS_MAX {
            error!("a write or sync of the log does not return; nothing more is acknowledged");
            return alarm.raise();
        }
    }
}

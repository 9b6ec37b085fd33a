//! Watches the append that runs: a disk that hangs answers neither well nor badly.

use std::time::Duration;

use tracing::error;

use super::alarm::Alarm;
use super::worker::Rest;

/// An append that takes longer will not return: the slowest disks that work take a second. With
/// the time to look and the time to end, a server that hangs is gone within 11 s.
const APPEND_MAX: Duration = Duration::from_secs(8);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(500);

/// Looks until there is nothing to watch.
pub(super) fn run(alarm: &Alarm, rest: &Rest) {
    while rest.rest(LOOK) && alarm.is_of_use() {
        let Some(running) = alarm.appends.running() else { continue };
        if running > APPEND_MAX {
            let seconds = running.as_secs();
            error!(seconds, "a write or sync of the log does not return; nothing is acknowledged");
            return alarm.raise();
        }
    }
}

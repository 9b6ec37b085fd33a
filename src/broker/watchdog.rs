//! Watches the append that runs: a disk that hangs answers neither well nor badly.

use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tracing::error;

use super::Inner;

/// An append that takes longer will not return: the slowest disks that work take a second. With
/// the time to look and the time to end, a server that hangs is gone within 11 s.
const APPEND_MAX: Duration = Duration::from_secs(8);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(500);

/// Starts a thread that lives about as long as the broker.
pub(super) fn start(inner: &Arc<Inner>) -> io::Result<()> {
    let inner = Arc::downgrade(inner);
    thread::Builder::new().name("watchdog".to_owned()).spawn(move || watch(&inner)).map(drop)
}

fn watch(inner: &Weak<Inner>) {
    loop {
        thread::sleep(LOOK);
        let Some(inner) = inner.upgrade() else { return };
        // Without an appender there is nothing to watch, nor anybody to fail for.
        let Some(fail) = inner.fail.upgrade() else { return };
        let Some(running) = inner.order.appending_for().filter(|running| *running > APPEND_MAX)
        else {
            continue;
        };
        let seconds = running.as_secs();
        error!(seconds, "a write or sync of the log does not return; nothing more is acknowledged");
        inner.order.give_up();
        fail.send_replace(true);
        return;
    }
}

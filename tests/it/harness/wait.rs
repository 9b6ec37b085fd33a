//! Waiting for conditions.

use std::thread;
use std::time::{Duration, Instant};

/// Maximum time a test waits for anything; beyond it the test fails.
pub const WAIT_MAX: Duration = Duration::from_secs(30);
/// Time between two polls.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Polls `condition` until it holds. Fails with `what` after [`WAIT_MAX`].
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    eventually(what, || condition().then_some(()));
}

/// Polls `look` until it returns a value. Fails with `what` after [`WAIT_MAX`].
#[track_caller]
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    eventually_within(WAIT_MAX, what, look)
}

/// [`eventually`] with another time limit.
#[track_caller]
pub fn eventually_within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        thread::park_timeout(POLL_INTERVAL);
    }
}

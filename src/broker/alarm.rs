//! The way in which whoever finds that the log cannot be relied on ends the acknowledging.

use std::sync::Weak;

use tokio::sync::watch;

use crate::order::Appends;

/// Raised once; raising it again changes nothing.
#[derive(Clone)]
pub(super) struct Alarm {
    pub appends: Appends,
    /// As long as there is an appender.
    pub fail: Weak<watch::Sender<bool>>,
}

impl Alarm {
    /// Refuses every insert from now on, and lets whoever serves end.
    pub fn raise(&self) {
        self.appends.refuse();
        if let Some(fail) = self.fail.upgrade() {
            fail.send_replace(true);
        }
    }

    /// Whether there is an appender to raise it for.
    pub fn is_of_use(&self) -> bool {
        self.fail.strong_count() > 0
    }
}

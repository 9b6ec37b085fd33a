//! The way in which whoever finds that the log cannot be relied on ends the acknowledging.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::watch;

use crate::order::AppendMonitor;

/// Raised once; raising it again changes nothing.
#[derive(Clone)]
pub struct FailStop {
    pub appends: AppendMonitor,
    /// Whether it was raised, also after the appender has ended.
    pub raised: Arc<AtomicBool>,
    /// As long as there is an appender.
    pub fail: Weak<watch::Sender<bool>>,
}

impl FailStop {
    /// Refuses every insert from now on, and lets whoever serves end.
    pub fn raise(&self) {
        self.refuse();
        if let Some(fail) = self.fail.upgrade() {
            fail.send_replace(true);
        }
    }

    /// Refuses every insert from now on.
    pub fn refuse(&self) {
        self.raised.store(true, Ordering::Relaxed);
        self.appends.refuse();
    }

    /// Whether there is an appender to raise it for.
    pub fn is_of_use(&self) -> bool {
        self.fail.strong_count() > 0
    }
}

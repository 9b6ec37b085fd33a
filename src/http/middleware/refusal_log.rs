//! Logs refusals that are the server's fault (5xx), at most one line per second and code.
//!
//! Under overload every client is refused many times, and logging each refusal would add to the
//! load. A line therefore counts the refusals since the line before; the metric
//! `broker_refused_total` counts all.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

/// Minimum time between two warnings of one code.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The last warning of each code.
#[derive(Debug, Default)]
pub struct RefusalLog(Mutex<HashMap<&'static str, LoggedRefusal>>);

#[derive(Debug)]
struct LoggedRefusal {
    at: Instant,
    /// Refusals since then, which were not logged.
    suppressed: u64,
}

impl RefusalLog {
    /// Logs a warning, unless one of this code was logged less than a second ago.
    pub fn warn(&self, code: &'static str, route: &str) {
        if let Some(more) = self.due(code, Instant::now()) {
            warn!(code, route, more, "refused");
        }
    }

    /// Returns the number of suppressed refusals if a warning is due.
    fn due(&self, code: &'static str, now: Instant) -> Option<u64> {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = logged.get_mut(code) else {
            logged.insert(code, LoggedRefusal { at: now, suppressed: 0 });
            return Some(0);
        };
        if now.duration_since(last.at) < LOG_INTERVAL {
            last.suppressed += 1;
            return None;
        }
        last.at = now;
        Some(std::mem::take(&mut last.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_logged_once_a_second_with_a_count() {
        let refusals = RefusalLog::default();
        let start = Instant::now();
        let mut lines = Vec::new();
        for millis in 0..2_500 {
            lines.extend(refusals.due("queue-full", start + Duration::from_millis(millis)));
        }
        assert_eq!(lines, [0, 999, 999]);
        assert_eq!(refusals.due("disk-full", start), Some(0), "each code has its own interval");
    }
}

//! Warnings about what the server refuses for reasons of its own.
//!
//! Promises one line a second of each code at most, which counts those before it: under overload
//! every client is refused many times, and writing that down must not make it worse.
//! The metric `broker_refused_total` counts each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

/// Between two warnings of one code.
const PAUSE: Duration = Duration::from_secs(1);

/// What was told of each code.
#[derive(Debug, Default)]
pub struct RefusalLog(Mutex<HashMap<&'static str, LoggedRefusal>>);

#[derive(Debug)]
struct LoggedRefusal {
    at: Instant,
    /// Refusals since then.
    untold: u64,
}

impl RefusalLog {
    /// Warns, unless that was done just now.
    pub fn warn(&self, code: &'static str, route: &str) {
        if let Some(more) = self.due(code, Instant::now()) {
            warn!(code, route, more, "refused");
        }
    }

    /// How many were not told of since the last warning, when one is due.
    fn due(&self, code: &'static str, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = told.get_mut(code) else {
            told.insert(code, LoggedRefusal { at: now, untold: 0 });
            return Some(0);
        };
        if now.duration_since(last.at) < PAUSE {
            last.untold += 1;
            return None;
        }
        last.at = now;
        Some(std::mem::take(&mut last.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_refusals_is_a_line_a_second_that_counts_the_others() {
        let refusals = RefusalLog::default();
        let start = Instant::now();
        let mut lines = Vec::new();
        for millis in 0..2_500 {
            lines.extend(refusals.due("queue-full", start + Duration::from_millis(millis)));
        }
        assert_eq!(lines, [0, 999, 999]);
        assert_eq!(refusals.due("disk-full", start), Some(0), "another code has its own");
    }
}

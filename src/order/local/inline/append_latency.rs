//! How long the log takes for a group, lately and now.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Each append counts for one part in so many of what is typical.
const SMOOTHING: u64 = 8;

/// Written by whoever appends, read by everybody.
#[derive(Debug)]
pub struct AppendLatency {
    origin: Instant,
    swift_nanos: u64,
    /// Typical time of an append; 0 before the first.
    typical_nanos: AtomicU64,
    /// When the append that runs began, since the origin; 0 when none runs.
    began_nanos: AtomicU64,
}

impl AppendLatency {
    pub fn new(swift: Duration) -> Self {
        let (typical_nanos, began_nanos) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { origin: Instant::now(), swift_nanos: nanos(swift), typical_nanos, began_nanos }
    }

    /// Times one append.
    pub fn time<T>(&self, append: impl FnOnce() -> T) -> T {
        let began = self.now();
        self.began_nanos.store(began.max(1), Ordering::Relaxed);
        let result = append();
        self.began_nanos.store(0, Ordering::Relaxed);
        self.took(self.now() - began);
        result
    }

    /// Whether an append may be waited for on a thread that has other work.
    pub fn is_swift(&self) -> bool {
        let typical = self.typical_nanos.load(Ordering::Relaxed);
        typical > 0 && typical < self.swift_nanos
    }

    /// When the append that runs began, since some moment in the past.
    pub fn running(&self) -> Option<Duration> {
        match self.began_nanos.load(Ordering::Relaxed) {
            0 => None,
            began => Some(Duration::from_nanos(began)),
        }
    }

    fn took(&self, nanos: u64) {
        let typical = match self.typical_nanos.load(Ordering::Relaxed) {
            0 => nanos,
            before => before - before / SMOOTHING + nanos / SMOOTHING,
        };
        self.typical_nanos.store(typical.max(1), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        nanos(self.origin.elapsed())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_append_among_swift_ones_is_not_typical_and_slow_ones_are() {
        let pace = AppendLatency::new(Duration::from_micros(500));
        assert!(!pace.is_swift(), "nothing is known yet");
        (0..20).for_each(|_| pace.took(100_000));
        assert!(pace.is_swift());
        pace.took(2_000_000);
        assert!(pace.is_swift());
        (0..20).for_each(|_| pace.took(2_000_000));
        assert!(!pace.is_swift());
    }

    #[test]
    fn an_append_runs_until_it_returns() {
        let pace = AppendLatency::new(Duration::from_micros(500));
        assert_eq!(pace.running(), None);
        assert!(pace.time(|| pace.running()).is_some());
        assert_eq!(pace.running(), None);
    }
}

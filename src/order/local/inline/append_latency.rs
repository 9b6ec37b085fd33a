//! How long appends take, typically and right now.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Weight of one append in the moving average: 1/8.
const SMOOTHING: u64 = 8;

/// Written by the appending thread, read by everybody.
#[derive(Debug)]
pub struct AppendLatency {
    origin: Instant,
    short_max_nanos: u64,
    /// Moving average of appends; 0 before the first.
    typical_nanos: AtomicU64,
    /// When the running append began, since the origin; 0 when none runs.
    began_nanos: AtomicU64,
}

impl AppendLatency {
    /// Appends are short while they typically take less than `short_max`.
    pub fn new(short_max: Duration) -> Self {
        let (typical_nanos, began_nanos) = (AtomicU64::new(0), AtomicU64::new(0));
        let short_max_nanos = nanos(short_max);
        Self { origin: Instant::now(), short_max_nanos, typical_nanos, began_nanos }
    }

    /// Runs one append and takes its time.
    pub fn measure<T>(&self, append: impl FnOnce() -> T) -> T {
        let began = self.now();
        self.began_nanos.store(began.max(1), Ordering::Relaxed);
        let result = append();
        self.began_nanos.store(0, Ordering::Relaxed);
        self.observe(self.now() - began);
        result
    }

    /// Whether a thread that has other work may wait for an append.
    pub fn is_short(&self) -> bool {
        let typical = self.typical_nanos.load(Ordering::Relaxed);
        typical > 0 && typical < self.short_max_nanos
    }

    /// When the running append began, since some moment in the past.
    pub fn began(&self) -> Option<Duration> {
        match self.began_nanos.load(Ordering::Relaxed) {
            0 => None,
            began => Some(Duration::from_nanos(began)),
        }
    }

    fn observe(&self, nanos: u64) {
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
    fn one_slow_append_among_short_ones_changes_nothing_and_several_do() {
        let latency = AppendLatency::new(Duration::from_micros(500));
        assert!(!latency.is_short(), "nothing is known yet");
        let observe = |nanos, times| (0..times).for_each(|_| latency.observe(nanos));
        observe(100_000, 20);
        assert!(latency.is_short());
        observe(2_000_000, 1);
        assert!(latency.is_short());
        observe(2_000_000, 20);
        assert!(!latency.is_short());
    }

    #[test]
    fn an_append_is_running_until_it_returns() {
        let latency = AppendLatency::new(Duration::from_micros(500));
        assert_eq!(latency.began(), None);
        assert!(latency.measure(|| latency.began()).is_some());
        assert_eq!(latency.began(), None);
    }
}

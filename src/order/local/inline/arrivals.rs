//! Callers that are about to propose, so that one who would append by itself sees the others.
//!
//! A thread that serves many connections is held for the time of a sync when one of them appends on
//! it. What waits on that thread meanwhile is not queued, so each would come alone, and each would
//! be synced by itself. Therefore some callers let others go first, who then find them here.

use std::sync::atomic::{AtomicUsize, Ordering};

/// One caller in so many lets others go first: that costs it about 6 us, and the others are found
/// within so many syncs.
pub const LOOK_EVERY: usize = 8;

/// How many there are, and were.
#[derive(Debug, Default)]
pub struct Arrivals {
    now: AtomicUsize,
    ever: AtomicUsize,
}

/// One of them; it is gone when this is dropped.
#[derive(Debug)]
pub struct Arrival<'a> {
    arrivals: &'a Arrivals,
    number: usize,
}

impl Arrivals {
    pub fn arrive(&self) -> Arrival<'_> {
        self.now.fetch_add(1, Ordering::Relaxed);
        Arrival { arrivals: self, number: self.ever.fetch_add(1, Ordering::Relaxed) }
    }

    #[cfg(test)]
    pub fn next_looks(&self) -> bool {
        self.ever.load(Ordering::Relaxed).is_multiple_of(LOOK_EVERY)
    }
}

impl Arrival<'_> {
    /// Whether it is this one's turn to let others go first.
    pub fn looks(&self) -> bool {
        self.number.is_multiple_of(LOOK_EVERY)
    }

    /// Whether nobody else is about to propose.
    pub fn is_alone(&self) -> bool {
        self.arrivals.now.load(Ordering::Relaxed) == 1
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.arrivals.now.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_so_many_looks_and_whoever_comes_meanwhile_is_not_alone() {
        let arrivals = Arrivals::default();
        let looks: Vec<bool> = (0..2 * LOOK_EVERY).map(|_| arrivals.arrive().looks()).collect();
        assert_eq!(looks.iter().filter(|looks| **looks).count(), 2);
        let first = arrivals.arrive();
        assert!(first.is_alone());
        let second = arrivals.arrive();
        assert!(!first.is_alone() && !second.is_alone());
        drop(second);
        assert!(first.is_alone());
    }
}

//! Counts callers that are about to propose, so that one that would append inline notices others.
//!
//! Appending inline holds a thread that serves many connections for the time of a sync. Requests
//! that wait on that thread meanwhile are not queued, so each would come alone and be synced by
//! itself. Therefore some callers let others go first, who then find them here.

use std::sync::atomic::{AtomicUsize, Ordering};

/// One caller in eight yields: that costs it about 6 us, and others are noticed within eight syncs.
pub const YIELD_EVERY: usize = 8;

/// The callers that are about to propose, and how many there ever were.
#[derive(Debug, Default)]
pub struct Arrivals {
    current: AtomicUsize,
    total: AtomicUsize,
}

/// A caller that is about to propose, until this is dropped.
#[derive(Debug)]
pub struct Arrival<'a> {
    arrivals: &'a Arrivals,
    number: usize,
}

impl Arrivals {
    pub fn arrive(&self) -> Arrival<'_> {
        self.current.fetch_add(1, Ordering::Relaxed);
        Arrival { arrivals: self, number: self.total.fetch_add(1, Ordering::Relaxed) }
    }

    #[cfg(test)]
    pub fn next_yields(&self) -> bool {
        self.total.load(Ordering::Relaxed).is_multiple_of(YIELD_EVERY)
    }
}

impl Arrival<'_> {
    /// Whether this caller lets others go first.
    pub fn yields(&self) -> bool {
        self.number.is_multiple_of(YIELD_EVERY)
    }

    /// Whether no other caller is about to propose.
    pub fn is_alone(&self) -> bool {
        self.arrivals.current.load(Ordering::Relaxed) == 1
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.arrivals.current.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_arrival_in_eight_yields() {
        let arrivals = Arrivals::default();
        let yields = (0..2 * YIELD_EVERY).filter(|_| arrivals.arrive().yields());
        assert_eq!(yields.count(), 2);
    }

    #[test]
    fn a_caller_is_alone_until_another_arrives() {
        let arrivals = Arrivals::default();
        let first = arrivals.arrive();
        assert!(first.is_alone());
        let second = arrivals.arrive();
        assert!(!first.is_alone() && !second.is_alone());
        drop(second);
        assert!(first.is_alone());
    }
}

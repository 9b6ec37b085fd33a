//! Pauses between attempts: exponential with full jitter, so that clients that lost the same server
//! do not reconnect all at once.

use std::time::Duration;

use rand::Rng as _;

/// The bound of the first pause.
const FIRST: Duration = Duration::from_millis(100);

/// Pauses that grow until an attempt succeeds.
#[derive(Debug)]
pub(super) struct Backoff {
    bound: Duration,
    bound_max: Duration,
}

impl Backoff {
    /// No pause is longer than `bound_max`.
    pub fn new(bound_max: Duration) -> Self {
        Self { bound: FIRST, bound_max }
    }

    /// The next pause: random, up to a bound that doubles.
    pub fn next(&mut self) -> Duration {
        let pause = self.bound.mul_f64(rand::rng().random_range(0.0..=1.0));
        self.bound = (self.bound * 2).min(self.bound_max);
        pause
    }

    /// An attempt succeeded: the next pause is short again.
    pub fn reset(&mut self) {
        self.bound = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_random_up_to_a_bound_that_doubles() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let mut bound = FIRST;
        for _ in 0..20 {
            assert_eq!(backoff.bound, bound);
            assert!(backoff.next() <= bound);
            bound = (bound * 2).min(Duration::from_secs(1));
        }
        assert_eq!(bound, Duration::from_secs(1));
        backoff.reset();
        assert_eq!(backoff.bound, FIRST);
        let pauses: Vec<_> = (0..100).map(|_| Backoff::new(FIRST).next()).collect();
        assert!(pauses.iter().any(|pause| *pause != pauses[0]), "pauses are random");
    }
}

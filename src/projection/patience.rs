//! How long the projection gives way to a burst of inserts.
//!
//! A record costs several times as much here as on the thread that acknowledges it, so in a burst
//! this one would take the other's time. It rests instead, out of a budget that comes
//! back slowly: a burst is taken in at full speed, while load that lasts is shared, so that readers
//! of the history are not refused for long.

use std::time::{Duration, Instant};

/// Rest for a burst of 12 s; what it leaves behind is applied within about as long.
const BUDGET: Duration = Duration::from_secs(10);

/// Of the time that passes, this part comes back: the whole budget in 100 s.
const REFILL_PART: u32 = 10;

/// A rest is this many times as long as the step before it.
const REST_TIMES: u32 = 4;

/// The budget of rest.
#[derive(Debug)]
pub(super) struct Patience {
    left: Duration,
    at: Instant,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BUDGET, at: now }
    }

    /// How long to rest after a step that took so long.
    pub(super) fn rest_after(&mut self, step: Duration, now: Instant) -> Duration {
        let refill = now.duration_since(self.at) / REFILL_PART;
        self.left = BUDGET.min(self.left + refill);
        self.at = now;
        self.left.min(step * REST_TIMES)
    }

    /// What was really rested: a reader may have ended it.
    pub(super) fn spend(&mut self, rested: Duration) {
        self.left = self.left.saturating_sub(rested);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_given_way_to_and_load_that_lasts_is_shared() {
        let step = Duration::from_millis(40);
        let mut now = Instant::now();
        let mut patience = Patience::new(now);
        let (began, mut rested) = (now, Duration::ZERO);
        while now - began < Duration::from_secs(100) {
            now += step;
            let rest = patience.rest_after(step, now);
            patience.spend(rest);
            now += rest;
            rested += rest;
            if now - began < Duration::from_secs(10) {
                assert_eq!(rest, step * REST_TIMES, "a burst");
            }
        }
        assert!(rested < BUDGET * 2 + step * REST_TIMES, "{rested:?}");
        // After a calm the budget is back.
        now += BUDGET * REFILL_PART;
        assert_eq!(patience.rest_after(step, now), step * REST_TIMES);
        assert_eq!(patience.left, BUDGET);
    }
}

//! How long the projection gives way to a burst of inserts.
//!
//! A record costs more here than on the thread that acknowledges it, so in a burst this one would
//! take the other's time. It rests instead, out of a budget that only a calm fills
//! again: a burst is taken in at full speed, while load that lasts is shared, so that readers of
//! the history are not refused for long.

use std::time::Duration;

/// Rest for a burst of so long; what it leaves behind takes half as long to apply, or up to twice
/// as long if each record is of another event and has an id of its client's.
const BUDGET: Duration = Duration::from_secs(10);

/// Of the time for which there was nothing to apply, this part comes back.
const REFILL_PART: u32 = 2;

/// The budget of rest.
#[derive(Debug)]
pub struct PauseBudget {
    left: Duration,
}

impl PauseBudget {
    pub fn new() -> Self {
        Self { left: BUDGET }
    }

    /// How long the projection may rest still.
    pub fn left(&self) -> Duration {
        self.left
    }

    /// The projection rested so long.
    pub fn spend(&mut self, paused: Duration) {
        self.left = self.left.saturating_sub(paused);
    }

    /// There was nothing to apply for so long.
    pub fn refill(&mut self, idle: Duration) {
        self.left = BUDGET.min(self.left + idle / REFILL_PART);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_spent_by_pauses_and_refilled_while_idle() {
        let mut budget = PauseBudget::new();
        assert_eq!(budget.left(), BUDGET);
        (0..200).for_each(|_| budget.spend(BUDGET / 100));
        assert_eq!(budget.left(), Duration::ZERO);
        budget.refill(BUDGET);
        assert_eq!(budget.left(), BUDGET / REFILL_PART);
        budget.refill(BUDGET * 100);
        assert_eq!(budget.left(), BUDGET);
    }
}

//! Limits how long the projection pauses during a burst of inserts.
//!
//! Applying a record costs more CPU than acknowledging it, so during a burst the projection pauses
//! and inserts run at full speed. The pause comes out of a budget that refills only while there is
//! nothing to apply: sustained load therefore shares the CPU, and readers of the history are not
//! refused for long.

use std::time::Duration;

/// Maximum pause during one burst. Applying the records of that time takes half as long, or up to
/// twice as long if each has an event of its own and an id chosen by its client.
const BUDGET: Duration = Duration::from_secs(10);

/// Idle time divided by this is added to the budget.
const REFILL_DIVISOR: u32 = 2;

/// The time that the projection may still pause.
#[derive(Debug)]
pub struct PauseBudget {
    left: Duration,
}

impl PauseBudget {
    pub fn new() -> Self {
        Self { left: BUDGET }
    }

    /// Time that is left.
    pub fn left(&self) -> Duration {
        self.left
    }

    /// Takes the time of a pause.
    pub fn spend(&mut self, paused: Duration) {
        self.left = self.left.saturating_sub(paused);
    }

    /// Adds to the budget for time without anything to apply.
    pub fn refill(&mut self, idle: Duration) {
        self.left = BUDGET.min(self.left + idle / REFILL_DIVISOR);
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
        assert_eq!(budget.left(), BUDGET / REFILL_DIVISOR);
        budget.refill(BUDGET * 100);
        assert_eq!(budget.left(), BUDGET);
    }
}

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
    pub fn spend(&mut self, rested: Duration) {
        self.left = self.left.saturating_sub(rested);
    }

    /// There was nothing to apply for so long.
    pub fn recover(&mut self, calm: Duration) {
        self.left = BUDGET.min(self.left + calm / REFILL_PART);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_given_way_to_once_and_again_after_a_calm() {
        let mut patience = PauseBudget::new();
        assert_eq!(patience.left(), BUDGET);
        (0..200).for_each(|_| patience.spend(BUDGET / 100));
        assert_eq!(patience.left(), Duration::ZERO);
        patience.recover(BUDGET);
        assert_eq!(patience.left(), BUDGET / REFILL_PART);
        patience.recover(BUDGET * 100);
        assert_eq!(patience.left(), BUDGET);
    }
}

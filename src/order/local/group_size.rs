//! How many submissions are under way, and how many of them a turn takes.
//!
//! Whoever waits for an answer is in the group that is synced, or in the queue behind it. While one
//! group is synced the callers of the one before are answered and come again, so two groups take
//! turns with the disk and the processors; where one is much larger than the other, first the disk
//! waits for a group to be decided and then the processors wait for the disk. Therefore a turn
//! takes half of all, which costs nothing: two groups that follow each other are everybody either
//! way.

/// A turn may take so many without counting: halves of fewer would only be more syncs.
const SHARE_MIN: usize = 16;
/// What was seen once is forgotten by one part in so many a turn.
const FADING: usize = 32;

/// The most submissions that were under way at once, lately.
#[derive(Debug, Default)]
pub struct InFlightPeak(usize);

impl InFlightPeak {
    /// A turn took so many, and so many more had come when it ended.
    pub fn seen(&mut self, taken: usize, came: usize) {
        self.0 = (taken + came).max(self.0 - self.0 / FADING);
    }

    /// How many the next turn takes, when so many are queued.
    pub fn share(&self, queued: usize) -> usize {
        self.0.max(queued).div_ceil(2).max(SHARE_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_takes_half_of_all_and_a_peak_that_left_is_forgotten() {
        let mut peak = InFlightPeak::default();
        assert_eq!(peak.share(3), SHARE_MIN);
        assert_eq!(peak.share(100), 50);
        peak.seen(4, 61);
        assert_eq!(peak.share(40), 33);
        peak.seen(33, 31);
        assert_eq!(peak.share(31), 32);
        (0..400).for_each(|_| peak.seen(1, 0));
        assert_eq!(peak.share(1), SHARE_MIN);
    }
}

//! Chooses how many queued submissions one append takes.
//!
//! While a group syncs, the callers of the previous group are answered and submit again, so two
//! groups alternate. If one is much larger than the other, the disk and the processors take turns
//! waiting. Taking half of everything in flight keeps the two even and costs no extra sync.

/// Smaller groups are not split: that would only add syncs.
const GROUP_MIN: usize = 16;
/// The peak decays by 1/32 with each append.
const DECAY: usize = 32;

/// The recent peak of submissions in flight.
#[derive(Debug, Default)]
pub struct InFlightPeak(usize);

impl InFlightPeak {
    /// Records an append that took `taken` submissions and left `queued` waiting.
    pub fn observe(&mut self, taken: usize, queued: usize) {
        self.0 = (taken + queued).max(self.0 - self.0 / DECAY);
    }

    /// Maximum size of the next group, with `queued` submissions waiting.
    pub fn next_group_max(&self, queued: usize) -> usize {
        self.0.max(queued).div_ceil(2).max(GROUP_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_group_is_half_of_the_peak_and_the_peak_decays() {
        let mut peak = InFlightPeak::default();
        assert_eq!(peak.next_group_max(3), GROUP_MIN);
        assert_eq!(peak.next_group_max(100), 50);
        peak.observe(4, 61);
        assert_eq!(peak.next_group_max(40), 33);
        peak.observe(33, 31);
        assert_eq!(peak.next_group_max(31), 32);
        for _ in 0..400 {
            peak.observe(1, 0);
        }
        assert_eq!(peak.next_group_max(1), GROUP_MIN);
    }
}

//! Recent ids: those that the projection may not hold yet, and some more, so that a look-up made
//! before the queue is still good behind it.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::record::Seq;

/// How many ids stay in memory after the projection has them; at some 60 bytes each, 4 MiB.
/// A proposal would have to wait behind so many records for its look-up to be repeated.
const KEPT: u64 = 65_536;

#[derive(Debug, Default)]
pub(super) struct RecentIds {
    seqs: HashMap<Uuid, Seq>,
    in_order: VecDeque<(Seq, Uuid)>,
    /// Ids of records up to here are only in the projection.
    trimmed_through: Seq,
    count_max: u64,
}

impl RecentIds {
    /// For so many ids that the projection may lack, beside those that are kept anyhow.
    pub fn new(trimmed_through: Seq, lag_max: u64) -> Self {
        Self { trimmed_through, count_max: lag_max.saturating_add(KEPT), ..Self::default() }
    }

    /// Whether the projection must take in some before more can be remembered.
    pub fn is_full(&self) -> bool {
        self.in_order.len() as u64 >= self.count_max
    }

    pub fn insert(&mut self, id: Uuid, seq: Seq) {
        self.seqs.insert(id, seq);
        self.in_order.push_back((seq, id));
    }

    pub fn seq_of(&self, id: &Uuid) -> Option<Seq> {
        self.seqs.get(id).copied()
    }

    pub fn trimmed_through(&self) -> Seq {
        self.trimmed_through
    }

    /// Takes back the last `count` ids: their records were not stored.
    pub fn forget(&mut self, count: usize) {
        for (_, id) in self.in_order.drain(self.in_order.len() - count..) {
            self.seqs.remove(&id);
        }
    }

    /// Lets go of what the projection has applied long ago.
    pub fn trim(&mut self, applied: Seq) {
        let through = applied.saturating_sub(KEPT);
        while let Some((seq, id)) = self.in_order.front().copied() {
            if seq > through {
                break;
            }
            self.in_order.pop_front();
            self.seqs.remove(&id);
            self.trimmed_through = seq;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_projection_has_had_for_long_is_let_go() {
        let mut ids = RecentIds::new(0, 100);
        for seq in 1..=KEPT + 10 {
            ids.insert(Uuid::from_u128(u128::from(seq)), seq);
        }
        ids.trim(5);
        assert_eq!(ids.seq_of(&Uuid::from_u128(1)), Some(1));
        ids.trim(KEPT + 3);
        assert_eq!(ids.trimmed_through(), 3);
        assert_eq!(ids.seq_of(&Uuid::from_u128(3)), None);
        assert_eq!(ids.seq_of(&Uuid::from_u128(4)), Some(4));
    }
}

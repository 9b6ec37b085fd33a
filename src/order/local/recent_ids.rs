//! Recent ids: those that the projection may not hold yet, and some more, so that a look-up made
//! before the queue is still good behind it.
//!
//! Ids that name their place (`record::names_place`), as those of the server do, are found by it; a
//! table holds the others. So an insert without an id costs no more here than 16 bytes.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::record::{Record, Seq, named_seqs, names_place};

/// How many ids stay in memory after the projection has them; at 16 bytes each, and some 80 more
/// for one that a client chose, 1 to 6 MiB. A proposal would have to wait behind so many records
/// for its look-up to be repeated.
///
/// Fewer under test, so that a simulation lets go of some.
const KEPT: u64 = if cfg!(test) { 48 } else { 65_536 };

/// The ids of the last records, without a gap.
#[derive(Debug)]
pub struct RecentIds {
    /// The id of every record after `trimmed_through`, in order.
    ids: VecDeque<Uuid>,
    /// Ids of records up to here are elsewhere.
    trimmed_through: Seq,
    /// Where those are that do not name their place.
    seqs: HashMap<Uuid, Seq>,
    /// The same in the order of the log.
    in_order: VecDeque<(Seq, Uuid)>,
    lag_max: u64,
    /// What the projection lacked up to here holds back nobody.
    counted_from: Seq,
}

impl RecentIds {
    /// For the records after `applied`, of which the projection may lack so many.
    #[must_use]
    pub fn new(applied: Seq, lag_max: u64) -> Self {
        Self {
            ids: VecDeque::new(),
            trimmed_through: applied,
            seqs: HashMap::new(),
            in_order: VecDeque::new(),
            lag_max,
            counted_from: applied,
        }
    }

    /// Takes in the record that follows.
    pub fn insert(&mut self, record: &Record) {
        let (id, seq) = (record.id(), record.seq());
        debug_assert_eq!(seq, self.last_seq() + 1, "ids are inserted without a gap");
        self.ids.push_back(id);
        if !names_place(&id, seq, record.time()) {
            self.seqs.insert(id, seq);
            self.in_order.push_back((seq, id));
        }
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Counts what the projection lacks from the last record on: the log is open.
    pub fn count_from_here(&mut self) {
        self.counted_from = self.last_seq();
    }

    /// How much of what came since the log was opened the projection lacks, once that is more than
    /// it may. `applied` is not asked as long as so few ids are held that it does not matter.
    pub fn lag_beyond_bound(&self, applied: impl FnOnce() -> Seq) -> Option<u64> {
        if (self.ids.len() as u64) < self.lag_max {
            return None;
        }
        let lag = self.last_seq().saturating_sub(applied().max(self.counted_from));
        (lag >= self.lag_max).then_some(lag)
    }

    /// The recent record that an id belongs to.
    pub fn seq_of(&self, id: &Uuid) -> Option<Seq> {
        let is_there = |seq: &Seq| {
            let at = seq.checked_sub(self.trimmed_through + 1).and_then(|at| at.try_into().ok());
            at.and_then(|at: usize| self.ids.get(at)) == Some(id)
        };
        let named = || named_seqs(id, self.last_seq()).find(is_there);
        self.seqs.get(id).copied().or_else(named)
    }

    /// Ids of records up to here are elsewhere: in the log and the projection.
    pub fn trimmed_through(&self) -> Seq {
        self.trimmed_through
    }

    /// Takes back the last `count` ids: their records were not stored.
    pub fn forget(&mut self, count: usize) {
        self.ids.truncate(self.ids.len() - count);
        let last_seq = self.last_seq();
        while let Some((seq, id)) = self.in_order.back().copied() {
            if seq <= last_seq {
                break;
            }
            self.in_order.pop_back();
            self.seqs.remove(&id);
        }
    }

    /// Lets go of what the projection has applied long ago.
    pub fn trim(&mut self, applied: Seq) {
        self.trim_through(applied.saturating_sub(KEPT));
    }

    /// Lets go of all but the last `count`.
    pub fn keep_last(&mut self, count: u64) {
        self.trim_through(self.last_seq().saturating_sub(count));
    }

    fn trim_through(&mut self, through: Seq) {
        let through = through.min(self.last_seq());
        let Some(count) = through.checked_sub(self.trimmed_through) else { return };
        // As many as are held, which a usize counts.
        self.ids.drain(..count as usize);
        self.trimmed_through = through;
        while let Some((seq, id)) = self.in_order.front().copied() {
            if seq > through {
                break;
            }
            self.in_order.pop_front();
            self.seqs.remove(&id);
        }
    }

    fn last_seq(&self) -> Seq {
        self.trimmed_through + self.ids.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Salts;
    use crate::record::{Identity, Name, RecordParts, Timestamp, server_id};

    /// Every third record has an id of the server.
    fn record(seq: Seq) -> Record {
        let time = Timestamp::from_millis(seq / 2);
        let id = match seq % 3 {
            0 => server_id(seq, time, [0; 5]),
            // It looks so, and names the place of another.
            1 => server_id(seq + 1, time, [1; 5]),
            _ => Uuid::from_u128(u128::from(seq)),
        };
        Record::new(RecordParts {
            seq,
            identity: Identity { event: Name::parse("a").unwrap(), to: None },
            version: seq,
            id,
            time,
            author: None,
            salts: Salts { meta: [1; 16], data: [2; 16] },
            data: b"1",
        })
    }

    fn held(ids: &RecentIds, seqs: impl Iterator<Item = Seq>) -> Vec<Seq> {
        let found = seqs.filter_map(|seq| {
            let found = ids.seq_of(&record(seq).id());
            assert!(found.is_none_or(|found| found == seq));
            found
        });
        found.collect()
    }

    #[test]
    fn only_what_the_projection_has_had_for_long_is_let_go() {
        let mut ids = RecentIds::new(0, 100);
        (1..=KEPT + 10).for_each(|seq| ids.insert(&record(seq)));
        ids.trim(5);
        assert_eq!(held(&ids, 1..=9), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        ids.trim(KEPT + 3);
        assert_eq!(ids.trimmed_through(), 3);
        assert_eq!(held(&ids, 1..=9), [4, 5, 6, 7, 8, 9]);
        ids.trim(KEPT);
        assert_eq!(ids.trimmed_through(), 3);
        assert_eq!(ids.seqs.len() + ids.ids.len() / 3, ids.ids.len());
    }

    #[test]
    fn what_was_not_stored_is_forgotten_and_may_come_again() {
        let mut ids = RecentIds::new(100, 100);
        (101..=110).for_each(|seq| ids.insert(&record(seq)));
        ids.forget(4);
        assert_eq!(held(&ids, 90..=120), [101, 102, 103, 104, 105, 106]);
        (107..=108).for_each(|seq| ids.insert(&record(seq)));
        assert_eq!(held(&ids, 107..=120), [107, 108]);
        ids.keep_last(3);
        assert_eq!(held(&ids, 90..=120), [106, 107, 108]);
        assert_eq!(ids.trimmed_through(), 105);
        ids.keep_last(100);
        assert_eq!(held(&ids, 90..=120), [106, 107, 108]);
    }

    #[test]
    fn the_bound_is_what_the_projection_lacks_and_not_what_is_held() {
        let mut ids = RecentIds::new(0, 10);
        (1..=5).for_each(|seq| ids.insert(&record(seq)));
        ids.count_from_here();
        (6..=15).for_each(|seq| {
            assert_eq!(ids.lag_beyond_bound(|| 3), None, "before {seq}");
            ids.insert(&record(seq));
        });
        // Of an older history only what came meanwhile counts.
        assert_eq!(ids.lag_beyond_bound(|| 3), Some(10));
        assert_eq!(ids.lag_beyond_bound(|| 6), None);
        (16..=KEPT + 30).for_each(|seq| ids.insert(&record(seq)));
        assert_eq!(ids.lag_beyond_bound(|| KEPT + 20), Some(10));
        ids.trim(KEPT + 21);
        assert_eq!(ids.lag_beyond_bound(|| KEPT + 21), None);
    }
}

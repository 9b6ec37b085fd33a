//! The ids of recent records: those that the projection may not hold yet, and some more, so that a
//! look-up made before the queue is still valid when the proposal is decided.
//!
//! Ids that name their seq (`record::is_self_locating`), as those of the server do, are found by it; a
//! table holds the others. So an insert without an id costs only 16 bytes here.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use crate::record::{Record, Seq, encoded_seqs, is_self_locating};

/// How many ids stay in memory after the projection has applied them. At 16 bytes each, and about
/// 80 more for one that a client chose, they take 1 to 6 MiB. A look-up is repeated only if more
/// records than this were appended while its proposal was queued.
///
/// Fewer under test, so that a simulation trims some.
const KEPT: u64 = if cfg!(test) { 48 } else { 65_536 };

/// The ids of the last records, without a gap.
#[derive(Debug)]
pub struct RecentIds {
    /// The id of every record after `trimmed_through`, in order.
    ids: VecDeque<Uuid>,
    /// Ids of records up to here are in the log and the projection only.
    trimmed_through: Seq,
    /// The seqs of ids that do not name theirs.
    seqs: HashMap<Uuid, Seq>,
    /// The same, in the order of the log.
    in_order: VecDeque<(Seq, Uuid)>,
    lag_max: u64,
    /// Records up to here do not count as lag.
    lag_from: Seq,
}

impl RecentIds {
    /// For the records after `applied`. `lag_max` bounds how many the projection may lack.
    #[must_use]
    pub fn new(applied: Seq, lag_max: u64) -> Self {
        Self {
            ids: VecDeque::new(),
            trimmed_through: applied,
            seqs: HashMap::new(),
            in_order: VecDeque::new(),
            lag_max,
            lag_from: applied,
        }
    }

    /// Adds the id of the next record.
    pub fn insert(&mut self, record: &Record) {
        let (id, seq) = (record.id(), record.seq());
        debug_assert_eq!(seq, self.last_seq() + 1, "ids are inserted without a gap");
        self.ids.push_back(id);
        if !is_self_locating(&id, seq, record.time()) {
            self.seqs.insert(id, seq);
            self.in_order.push_back((seq, id));
        }
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Counts as lag only what comes after the last record. Called when the log is open: a
    /// projection that was far behind then refuses no inserts because of it.
    pub fn count_lag_from_here(&mut self) {
        self.lag_from = self.last_seq();
    }

    /// How many records since the log was opened the projection lacks, if that is the bound or
    /// more. `applied` is not called while so few ids are held that the bound cannot be reached.
    pub fn lag_beyond_bound(&self, applied: impl FnOnce() -> Seq) -> Option<u64> {
        if (self.ids.len() as u64) < self.lag_max {
            return None;
        }
        let lag = self.last_seq().saturating_sub(applied().max(self.lag_from));
        (lag >= self.lag_max).then_some(lag)
    }

    /// The seq of the recent record with this id.
    pub fn seq_of(&self, id: &Uuid) -> Option<Seq> {
        let is_there = |seq: &Seq| {
            let at = seq.checked_sub(self.trimmed_through + 1).and_then(|at| at.try_into().ok());
            at.and_then(|at: usize| self.ids.get(at)) == Some(id)
        };
        let named = || encoded_seqs(id, self.last_seq()).find(is_there);
        self.seqs.get(id).copied().or_else(named)
    }

    /// Ids of records up to here are found in the log and the projection.
    pub fn trimmed_through(&self) -> Seq {
        self.trimmed_through
    }

    /// Takes back the last `count` ids, whose records were not stored.
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

    /// Drops ids that the projection applied long ago.
    pub fn trim(&mut self, applied: Seq) {
        self.trim_through(applied.saturating_sub(KEPT));
    }

    /// Drops all but the last `count` ids.
    pub fn keep_last(&mut self, count: u64) {
        self.trim_through(self.last_seq().saturating_sub(count));
    }

    fn trim_through(&mut self, through: Seq) {
        let through = through.min(self.last_seq());
        let Some(count) = through.checked_sub(self.trimmed_through) else { return };
        // At most as many as are held, which a usize counts.
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
            // It has the form, and names the seq of another record.
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
    fn ids_are_trimmed_only_long_after_they_were_applied() {
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
    fn ids_of_records_that_were_not_stored_are_forgotten() {
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
    fn lag_counts_records_that_the_projection_lacks_not_ids_that_are_held() {
        let mut ids = RecentIds::new(0, 10);
        (1..=5).for_each(|seq| ids.insert(&record(seq)));
        ids.count_lag_from_here();
        (6..=15).for_each(|seq| {
            assert_eq!(ids.lag_beyond_bound(|| 3), None, "before {seq}");
            ids.insert(&record(seq));
        });
        // Records before the open do not count.
        assert_eq!(ids.lag_beyond_bound(|| 3), Some(10));
        assert_eq!(ids.lag_beyond_bound(|| 6), None);
        (16..=KEPT + 30).for_each(|seq| ids.insert(&record(seq)));
        assert_eq!(ids.lag_beyond_bound(|| KEPT + 20), Some(10));
        ids.trim(KEPT + 21);
        assert_eq!(ids.lag_beyond_bound(|| KEPT + 21), None);
    }
}

//! The newest record of each (event, audience), in memory, by name and in seq order.
//!
//! It is at once the replay of a first visit, the answer to a reconnect and the way back of a
//! subscriber that lagged: each asks for what is newest after a position.
//! It is also where positions of consumers are found: those are system records, held like any other
//! and counted as none.
//! Holds one record an identity. Knows nothing of engines, HTTP or who asks: that a system record
//! is on no stream is for those who read to see to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::record::{Identity, Record, Seq};

/// The newest records, and the seq up to which they are.
#[derive(Debug, Default)]
pub struct LatestRecords {
    seqs: HashMap<Identity, Seq>,
    records: BTreeMap<Seq, Arc<Record>>,
    head: Seq,
    public: usize,
    public_bytes: usize,
    consumers: usize,
}

/// A bounded step through the newest records.
#[derive(Debug)]
pub struct Slice {
    /// What matched, ascending by seq.
    pub records: Vec<Arc<Record>>,
    /// Everything that matches up to here was seen.
    pub position: Seq,
    /// Whether the step reached the head.
    pub complete: bool,
}

/// Bounds of one step: what a reader does while it holds the lock.
#[derive(Clone, Copy, Debug)]
pub struct SliceLimits {
    /// Records looked at.
    pub examined_max: usize,
    /// Bytes of JSON collected; one record more than fits may be collected.
    pub bytes_max: usize,
}

impl LatestRecords {
    /// Takes in a durable record; seqs rise strictly.
    pub fn apply(&mut self, record: &Arc<Record>) {
        assert!(record.seq() > self.head, "records come in the log's order");
        self.head = record.seq();
        let before = self.seqs.insert(record.identity().clone(), record.seq());
        let before = before.and_then(|seq| self.records.remove(&seq));
        self.consumers += usize::from(before.is_none() && record.event().is_consumer());
        if record.to().is_none() && !record.event().is_system() {
            self.public += usize::from(before.is_none());
            self.public_bytes += record.json().len();
            self.public_bytes -= before.map_or(0, |old| old.json().len());
        }
        self.records.insert(record.seq(), record.clone());
    }

    /// How many consumers have a position.
    #[must_use]
    pub fn consumers(&self) -> usize {
        self.consumers
    }

    /// The seq of the last applied record, system records included.
    #[must_use]
    pub fn head(&self) -> Seq {
        self.head
    }

    /// How many public newest values there are: counts tell nothing of what is private.
    #[must_use]
    pub fn public_count(&self) -> usize {
        self.public
    }

    /// Bytes of the public newest values' JSON.
    #[must_use]
    pub fn public_bytes(&self) -> usize {
        self.public_bytes
    }

    /// The newest record of one identity.
    #[must_use]
    pub fn find(&self, identity: &Identity) -> Option<&Arc<Record>> {
        self.seqs.get(identity).and_then(|seq| self.records.get(seq))
    }

    /// The next matching records after a position, found by index.
    #[must_use]
    pub fn after(
        &self,
        position: Seq,
        limits: SliceLimits,
        matches: impl Fn(&Record) -> bool,
    ) -> Slice {
        let mut slice = Slice { records: Vec::new(), position, complete: false };
        let mut bytes = 0;
        let mut newer = self.records.range(position.saturating_add(1)..);
        for (seq, record) in newer.by_ref().take(limits.examined_max) {
            slice.position = *seq;
            if matches(record) {
                bytes += record.json().len();
                slice.records.push(record.clone());
                if bytes >= limits.bytes_max {
                    break;
                }
            }
        }
        if newer.next().is_none() {
            slice.complete = true;
            slice.position = slice.position.max(self.head);
        }
        slice
    }

    /// The newest records of some identities after a position, ascending by seq, until their JSON
    /// reaches `bytes_max`: for views of exact names, which need not pass by everything else.
    #[must_use]
    pub fn after_among<'a>(
        &self,
        position: Seq,
        bytes_max: usize,
        identities: impl Iterator<Item = &'a Identity>,
    ) -> Slice {
        let found = identities.filter_map(|identity| self.find(identity));
        let mut records: Vec<_> = found.filter(|record| record.seq() > position).cloned().collect();
        records.sort_unstable_by_key(|record| record.seq());
        let mut bytes = 0;
        let fits = records.iter().take_while(|record| {
            let fits = bytes < bytes_max;
            bytes += record.json().len();
            fits
        });
        let count = fits.count();
        let complete = count == records.len();
        records.truncate(count);
        let last = records.last().map_or(position, |record| record.seq());
        Slice { records, position: if complete { last.max(self.head) } else { last }, complete }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::audit::Salts;
    use crate::record::{Name, RecordParts, Timestamp};

    const NAMES: [&str; 4] = ["a", "b", "a.b", "broker:test"];

    fn record(seq: Seq, name: &str, data: &[u8]) -> Arc<Record> {
        Arc::new(Record::new(RecordParts {
            seq,
            identity: Identity { event: Name::stored(name).unwrap(), to: None },
            version: seq,
            id: Uuid::nil(),
            time: Timestamp::from_millis(0),
            author: None,
            salts: Salts { meta: [0; 16], data: [0; 16] },
            data,
        }))
    }

    proptest! {
        #[test]
        fn latest_after_any_position_matches_a_simple_map(
            names in prop::collection::vec(0..NAMES.len(), 0..60),
            position in 0u64..70,
            examined_max in 1usize..10,
        ) {
            let mut latest = LatestRecords::default();
            let mut model: BTreeMap<&str, Seq> = BTreeMap::new();
            for (index, name) in names.iter().enumerate() {
                let seq = index as u64 + 1;
                latest.apply(&record(seq, NAMES[*name], b"0"));
                model.insert(NAMES[*name], seq);
            }
            let public = model.keys().filter(|name| **name != NAMES[3]).count();
            prop_assert_eq!(latest.public_count(), public);
            let mut expected: Vec<Seq> =
                model.values().copied().filter(|seq| *seq > position).collect();
            expected.sort_unstable();

            let limits = SliceLimits { examined_max, bytes_max: usize::MAX };
            let mut at = position;
            let mut found = Vec::new();
            loop {
                let slice = latest.after(at, limits, |_| true);
                prop_assert!(slice.position >= at);
                at = slice.position;
                found.extend(slice.records.iter().map(|record| record.seq()));
                if slice.complete {
                    break;
                }
            }
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(at, position.max(names.len() as u64));

            let identities: Vec<_> = NAMES[..2]
                .iter()
                .map(|name| Identity { event: Name::stored(name).unwrap(), to: None })
                .collect();
            let mut among = Vec::new();
            let mut at = position;
            loop {
                // One byte is one record more than fits.
                let slice = latest.after_among(at, 1, identities.iter());
                among.extend(slice.records.iter().map(|record| record.seq()));
                at = slice.position;
                if slice.complete {
                    break;
                }
            }
            let mut of_two: Vec<Seq> = NAMES[..2]
                .iter()
                .filter_map(|name| model.get(name).copied())
                .filter(|seq| *seq > position)
                .collect();
            of_two.sort_unstable();
            prop_assert_eq!(among, of_two);
        }
    }

    #[test]
    fn public_bytes_count_only_the_latest_record() {
        let mut latest = LatestRecords::default();
        latest.apply(&record(1, "a", b"\"a long value\""));
        latest.apply(&record(2, "a", b"1"));
        latest.apply(&record(3, "broker:test", b"1"));
        let only = record(2, "a", b"1");
        assert_eq!(latest.public_bytes(), only.json().len());
    }
}

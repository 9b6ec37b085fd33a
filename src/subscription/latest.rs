//! The latest record of each identity, in memory, by identity and in seq order.
//!
//! Answers a first visit, a reconnect and a subscriber that lagged alike: each reads the latest
//! records after a position. Positions of consumers are found here too: they are system records,
//! which are held like any other but not counted as public. Readers filter out system records.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::record::{Identity, Record, Seq};

/// The latest records as of `head`.
#[derive(Debug, Default)]
pub struct LatestRecords {
    seqs: HashMap<Identity, Seq>,
    records: BTreeMap<Seq, Arc<Record>>,
    head: Seq,
    public: usize,
    public_bytes: usize,
    consumers: usize,
}

/// A bounded step through the latest records.
#[derive(Debug)]
pub struct Slice {
    /// Matching records, ascending by seq.
    pub records: Vec<Arc<Record>>,
    /// Every match up to here is in this step or an earlier one.
    pub position: Seq,
    /// Whether the step reached the head.
    pub complete: bool,
}

/// Bounds of one step, because a reader holds the lock meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct SliceLimits {
    /// Maximum number of records examined.
    pub examined_max: usize,
    /// Bytes of JSON at which the step ends; the last record may exceed it.
    pub bytes_max: usize,
}

impl LatestRecords {
    /// Adds a durable record; seqs must rise strictly.
    pub fn apply(&mut self, record: &Arc<Record>) {
        assert!(record.seq() > self.head, "records are applied in log order");
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

    /// Number of consumers that have a position.
    #[must_use]
    pub fn consumers(&self) -> usize {
        self.consumers
    }

    /// The seq of the last applied record, system records included.
    #[must_use]
    pub fn head(&self) -> Seq {
        self.head
    }

    /// Number of public latest records; private ones are not counted, so that counts reveal nothing
    /// about them.
    #[must_use]
    pub fn public_count(&self) -> usize {
        self.public
    }

    /// Bytes of the public latest records' JSON.
    #[must_use]
    pub fn public_bytes(&self) -> usize {
        self.public_bytes
    }

    /// The latest record of one identity.
    #[must_use]
    pub fn find(&self, identity: &Identity) -> Option<&Arc<Record>> {
        self.seqs.get(identity).and_then(|seq| self.records.get(seq))
    }

    /// The next matching records after a position.
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

    /// The latest records of some identities after a position, ascending by seq, until their JSON
    /// reaches `bytes_max`. Cheaper than [`LatestRecords::after`] for selectors of exact names.
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
                // One byte, so each step returns one record.
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

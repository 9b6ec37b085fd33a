//! Checks that a sequence of records obeys the rules of the fold.
//!
//! The journal proves that the records are those that were written, in that order. This proves that
//! they form a valid history; a start would stop at a record that does not.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::record::{Identity, Record, Seq, Timestamp, Version};
use crate::subscription::epochs::{Epochs, open_name};

/// The records so far.
#[derive(Clone, Default)]
pub(super) struct Sequence {
    last_seq: Seq,
    last_time: Timestamp,
    versions: HashMap<Identity, Version>,
    /// Absent if ids are not checked: they take at least 16 bytes each.
    ids: Option<HashSet<Uuid>>,
    epochs: Epochs,
}

impl Sequence {
    /// Checks everything except that ids are unique.
    pub(super) fn without_ids() -> Self {
        Self::default()
    }

    /// Checks everything.
    pub(super) fn with_ids() -> Self {
        Self { ids: Some(HashSet::new()), ..Self::default() }
    }

    /// Checks the next record. The error says what is wrong with it.
    pub(super) fn check(&mut self, record: &Record) -> Result<(), String> {
        let (seq, expected) = (record.seq(), self.last_seq + 1);
        if seq != expected {
            return Err(if seq > expected {
                format!("seq {expected} should be here: it is missing, or the order was changed")
            } else {
                format!("seq {expected} should be here: this record is in the wrong place")
            });
        }
        if record.time() < self.last_time {
            return Err(format!(
                "its time is {}, earlier than {} of the record before it",
                record.time(),
                self.last_time
            ));
        }
        let before = self.versions.get(record.identity()).copied().unwrap_or(0);
        if record.version() != before + 1 {
            let expected = before + 1;
            return Err(format!("the next version of its event is {expected}, not this one"));
        }
        if let Some(ids) = &mut self.ids
            && !ids.insert(record.id())
        {
            return Err(format!("its id {} is also that of an earlier record", record.id()));
        }
        if record.event() == &open_name() {
            self.epochs.restore(seq, record.data())?;
        }
        (self.last_seq, self.last_time) = (seq, record.time());
        self.versions.insert(record.identity().clone(), record.version());
        Ok(())
    }

    /// Seq of the last record.
    pub(super) fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// The latest version of each identity, including system records.
    pub(super) fn latest(&self) -> impl Iterator<Item = (&Identity, Version)> {
        self.versions.iter().map(|(identity, version)| (identity, *version))
    }

    /// The number of identities, except those of system records.
    pub(super) fn events(&self) -> u64 {
        self.latest().filter(|(identity, _)| !identity.event.is_system()).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Salts;
    use crate::record::{Name, RecordParts};

    fn record(seq: Seq, event: &str, version: Version, id: u128, time: u64) -> Record {
        Record::new(RecordParts {
            seq,
            identity: Identity { event: Name::stored(event).unwrap(), to: None },
            version,
            id: Uuid::from_u128(id),
            time: Timestamp::from_millis(time),
            author: None,
            salts: Salts { meta: [1; 16], data: [2; 16] },
            data: b"1",
        })
    }

    #[test]
    fn each_broken_rule_has_its_own_message() {
        let mut sequence = Sequence::with_ids();
        sequence.check(&record(1, "a", 1, 1, 10)).unwrap();
        sequence.check(&record(2, "a", 2, 2, 10)).unwrap();
        for (record, words) in [
            (record(4, "a", 3, 3, 10), "is missing"),
            (record(2, "a", 3, 3, 10), "wrong place"),
            (record(3, "a", 3, 3, 9), "earlier than"),
            (record(3, "a", 4, 3, 10), "version of its event is 3,"),
            (record(3, "b", 2, 3, 10), "version of its event is 1,"),
            (record(3, "a", 3, 1, 10), "also that of an earlier record"),
            (record(3, "broker:open", 1, 3, 10), "expected"),
        ] {
            let what = sequence.clone().check(&record).unwrap_err();
            assert!(what.contains(words), "{what}");
        }
        sequence.check(&record(3, "a", 3, 3, 10)).unwrap();
        assert_eq!((sequence.last_seq(), sequence.events()), (3, 1));
        Sequence::without_ids().check(&record(1, "a", 1, 1, 10)).unwrap();
    }
}

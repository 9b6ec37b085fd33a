//! What records must be to one another: the rules of the fold, checked on what is there.
//!
//! The journal proves that records are those that were written, in that order; this proves that
//! what was written is a history. A start would stop at a record that breaks it.

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
    /// Absent when ids are not looked at: they take 16 bytes a record and more.
    ids: Option<HashSet<Uuid>>,
    epochs: Epochs,
}

impl Sequence {
    /// Checks all but that ids stand once.
    pub(super) fn without_ids() -> Self {
        Self::default()
    }

    /// Checks everything.
    pub(super) fn with_ids() -> Self {
        Self { ids: Some(HashSet::new()), ..Self::default() }
    }

    /// Takes the next record, or says what is wrong with it.
    pub(super) fn check(&mut self, record: &Record) -> Result<(), String> {
        let (seq, expected) = (record.seq(), self.last_seq + 1);
        if seq != expected {
            return Err(if seq > expected {
                format!("seq {expected} should stand here: it is missing, or the order was changed")
            } else {
                format!("seq {expected} should stand here: this one stands in the wrong place")
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
            return Err(format!("its event has version {expected} next, and not this one"));
        }
        if let Some(ids) = &mut self.ids
            && !ids.insert(record.id())
        {
            return Err(format!("its id {} is that of an earlier record too", record.id()));
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

    /// The newest version of each identity, system records included.
    pub(super) fn latest(&self) -> impl Iterator<Item = (&Identity, Version)> {
        self.versions.iter().map(|(identity, version)| (identity, *version))
    }

    /// Identities of clients' records.
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
            (record(3, "a", 4, 3, 10), "version 3 next"),
            (record(3, "b", 2, 3, 10), "version 1 next"),
            (record(3, "a", 3, 1, 10), "earlier record too"),
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

//! Names the first record that damage affects.

use std::fs;

use crate::journal::error::JournalError;
use crate::journal::format::frame;
use crate::journal::offline::survey::Survey;
use crate::record::{Meta, Seq};

/// The first record affected by damage, as far as the damaged bytes identify it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstBadRecord {
    /// Its seq.
    pub seq: Seq,
    /// Its event, version and audience, if its meta is intact.
    pub names: Option<(String, u64, Option<String>)>,
}

impl Survey {
    /// The first record affected by the damage that `error` reports, read from the damaged group.
    #[must_use]
    pub fn first_bad_record(&self, error: &JournalError) -> Option<FirstBadRecord> {
        let (file, offset, first) = match error {
            JournalError::Damage { file, offset, last_good_seq, .. } => {
                (file, *offset, last_good_seq + 1)
            }
            JournalError::Record { file, offset, seq, .. } => (file, *offset, *seq),
            JournalError::DamagedRecord { .. }
            | JournalError::InUse { .. }
            | JournalError::Io { .. } => return None,
        };
        let bytes = fs::read(file).unwrap_or_default();
        let group = bytes.get(usize::try_from(offset).ok()?..);
        let group = group.and_then(|bytes| frame::decode(self.log_id(), bytes).ok());
        let Some(group) = group else { return Some(FirstBadRecord { seq: first, names: None }) };
        let seq = match error {
            JournalError::Record { seq, .. } => *seq,
            _ => group.first_fault().map_or(group.first_seq, |(seq, _)| seq),
        };
        let names = group
            .meta(seq)
            .and_then(|meta| Meta::decode(meta).ok())
            .map(|meta| (meta.event.to_owned(), meta.version, meta.to.map(str::to_owned)));
        Some(FirstBadRecord { seq, names })
    }
}

//! The stored record of an entry of a group.

use std::fmt;

use crate::audit::{Salt, Salts};
use crate::journal::format::frame::{GroupEntry, PartKind, StoredPart};
use crate::record::{Seq, StoredRecord};

/// A part that is all zeros. This version never erases a part, so an erased one is damage.
#[derive(Debug)]
pub struct ErasedPart {
    seq: Seq,
    kind: PartKind,
}

impl fmt::Display for ErasedPart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.kind {
            PartKind::Meta => "meta",
            PartKind::Data => "data",
        };
        write!(out, "the {part} of seq {} is all zeros", self.seq)
    }
}

/// The stored record of an entry with both parts.
pub fn stored_record<'a>(entry: &GroupEntry<'a>) -> Result<StoredRecord<'a>, ErasedPart> {
    let seq = entry.facts.seq;
    let (meta_salt, meta) = salted_bytes(seq, PartKind::Meta, entry.meta)?;
    let (data_salt, data) = salted_bytes(seq, PartKind::Data, entry.data)?;
    let salts = Salts { meta: meta_salt, data: data_salt };
    Ok(StoredRecord { leaf: entry.leaf, salts, meta, data })
}

/// Salt and bytes of a part.
pub fn salted_bytes(
    seq: Seq,
    kind: PartKind,
    part: StoredPart<'_>,
) -> Result<(Salt, &[u8]), ErasedPart> {
    match part {
        StoredPart::Whole { salt, bytes } => Ok((salt, bytes)),
        StoredPart::Erased => Err(ErasedPart { seq, kind }),
    }
}

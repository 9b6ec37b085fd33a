//! A record in the parts that are stored and hashed.

use thiserror::Error;

use super::UserError;
use super::{Identity, Meta, MetaError, Name, NameError, Record, RecordParts, Timestamp, User};
use crate::audit::{LEAF_BYTES, Leaf, LeafError, Salts, commit};

/// The parts of a stored record, borrowed; nothing about them is checked yet.
#[derive(Clone, Copy, Debug)]
pub struct StoredRecord<'a> {
    /// The encoded leaf.
    pub leaf: &'a [u8; LEAF_BYTES],
    /// The salts of its commitments.
    pub salts: Salts,
    /// The encoded meta.
    pub meta: &'a [u8],
    /// The data's bytes.
    pub data: &'a [u8],
}

/// Why stored bytes are not the record that they should be.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The leaf's commitment is to other bytes.
    #[error("the {0} does not match the leaf's commitment")]
    Commitment(&'static str),
    /// The leaf cannot be read.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// The meta cannot be read.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The event's name breaks the rules for names.
    #[error("the event's name: {0}")]
    Name(#[from] NameError),
    /// A system record says something that this version does not understand.
    #[error("a system record: {0}")]
    System(String),
    /// A user breaks the rules for users.
    #[error("a user: {0}")]
    User(#[from] UserError),
}

impl<'a> StoredRecord<'a> {
    /// Whether both commitments of the leaf are to these bytes.
    ///
    /// # Errors
    /// [`RecordError::Commitment`] naming the part that differs, [`RecordError::Leaf`].
    pub fn verify(&self) -> Result<(), RecordError> {
        let leaf = Leaf::decode(self.leaf)?;
        if commit(&self.salts.meta, self.meta) != leaf.meta {
            return Err(RecordError::Commitment("meta"));
        }
        if commit(&self.salts.data, self.data) != leaf.data {
            return Err(RecordError::Commitment("data"));
        }
        Ok(())
    }

    /// The record of these parts, which are verified first: a hash that is shown later is
    /// therefore that of the stored leaf.
    ///
    /// # Errors
    /// [`RecordError`] when the leaf commits to other bytes, leaf or meta cannot be read, or a
    /// name breaks its rules.
    pub fn to_record(&self) -> Result<Record, RecordError> {
        self.verify()?;
        let leaf = Leaf::decode(self.leaf)?;
        let meta = Meta::decode(self.meta)?;
        let event = Name::stored(meta.event)?;
        let to = meta.to.map(User::stored).transpose()?;
        Ok(Record::new(RecordParts {
            seq: leaf.seq,
            identity: Identity { event, to },
            version: meta.version,
            id: meta.id,
            time: Timestamp::from_millis(leaf.time_ms),
            author: meta.author.map(User::stored).transpose()?,
            salts: self.salts,
            data: self.data,
        }))
    }
}

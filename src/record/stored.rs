//! The stored encoding of a single record, used in snapshots.
//!
//! ```text
//! bytes  field
//!     4  CRC-32C of all that follows, little-endian
//!    84  leaf
//!    16  salt of the meta
//!    16  salt of the data
//!     2  length of the meta, little-endian
//!     …  meta
//!     …  data, to the end
//! ```

use thiserror::Error;

use crate::audit::{LEAF_BYTES, Leaf, LeafError, SALT_BYTES, Salts, commit};
use crate::record::committed::{Record, RecordParts};
use crate::record::identity::{Identity, Seq};
use crate::record::meta::{Meta, MetaError};
use crate::record::name::{Name, NameError, User, UserError};
use crate::record::time::Timestamp;

const HEAD_BYTES: usize = 4 + LEAF_BYTES + 2 * SALT_BYTES + 2;

/// The parts of a stored record, borrowed and not yet verified.
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

/// Why stored bytes are not a valid record.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The leaf commits to other bytes.
    #[error("the {0} does not match the leaf's commitment")]
    Commitment(&'static str),
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Crc,
    /// The leaf cannot be read.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// The meta cannot be read.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The event's name breaks a rule of names.
    #[error("the event's name: {0}")]
    Name(#[from] NameError),
    /// The bytes end before the record does.
    #[error("the record is cut short")]
    Short,
    /// This version does not understand the data of a system record.
    #[error("a system record: {0}")]
    System(String),
    /// The time is beyond the last valid one.
    #[error("the time is after the year 9999")]
    Time,
    /// A user breaks a rule of users.
    #[error("a user: {0}")]
    User(#[from] UserError),
}

impl<'a> StoredRecord<'a> {
    /// Reads the parts and checks the checksum, but not the commitments.
    ///
    /// # Errors
    /// [`RecordError::Short`] and [`RecordError::Crc`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let (crc, rest) = bytes.split_first_chunk::<4>().ok_or(RecordError::Short)?;
        if crc32c::crc32c(rest) != u32::from_le_bytes(*crc) {
            return Err(RecordError::Crc);
        }
        let (leaf, rest) = rest.split_first_chunk::<LEAF_BYTES>().ok_or(RecordError::Short)?;
        let (meta_salt, rest) = rest.split_first_chunk::<SALT_BYTES>().ok_or(RecordError::Short)?;
        let (data_salt, rest) = rest.split_first_chunk::<SALT_BYTES>().ok_or(RecordError::Short)?;
        let (len, rest) = rest.split_first_chunk::<2>().ok_or(RecordError::Short)?;
        let len = usize::from(u16::from_le_bytes(*len));
        let (meta, data) = rest.split_at_checked(len).ok_or(RecordError::Short)?;
        Ok(Self { leaf, salts: Salts { meta: *meta_salt, data: *data_salt }, meta, data })
    }

    /// Checks that the leaf commits to these bytes.
    ///
    /// # Errors
    /// [`RecordError::Commitment`] with the part that differs, or [`RecordError::Leaf`].
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

    /// Verifies the parts and builds the record, whose hash is therefore that of the stored leaf.
    ///
    /// # Errors
    /// [`RecordError`] when the leaf commits to other bytes, the leaf or meta cannot be read, or a
    /// name breaks a rule.
    pub fn to_record(&self) -> Result<Record, RecordError> {
        self.verify()?;
        let Leaf { seq, time_ms, .. } = Leaf::decode(self.leaf)?;
        let Self { salts, meta, data, .. } = *self;
        RecordWithoutLeaf { seq, time_ms, salts, meta, data }.record()
    }
}

/// The parts of a record without its leaf, borrowed and not yet verified.
#[derive(Clone, Copy, Debug)]
pub struct RecordWithoutLeaf<'a> {
    /// Position in the whole log.
    pub seq: Seq,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub time_ms: u64,
    /// The salts of its commitments.
    pub salts: Salts,
    /// The encoded meta.
    pub meta: &'a [u8],
    /// The data's bytes.
    pub data: &'a [u8],
}

impl RecordWithoutLeaf<'_> {
    /// The leaf of these parts, to compare with what is known of the stored one.
    #[must_use]
    pub fn leaf(&self) -> Leaf {
        Leaf {
            seq: self.seq,
            time_ms: self.time_ms,
            meta: commit(&self.salts.meta, self.meta),
            data: commit(&self.salts.data, self.data),
        }
    }

    /// Builds the record.
    ///
    /// # Errors
    /// [`RecordError`] when the meta cannot be read, a name breaks a rule, or the time is after the
    /// year 9999.
    pub fn record(&self) -> Result<Record, RecordError> {
        let meta = Meta::decode(self.meta)?;
        let event = Name::stored(meta.event)?;
        let to = meta.to.map(User::stored).transpose()?;
        let time = Timestamp::from_millis(self.time_ms);
        if time.millis() != self.time_ms {
            return Err(RecordError::Time);
        }
        Ok(Record::new(RecordParts {
            seq: self.seq,
            identity: Identity { event, to },
            version: meta.version,
            id: meta.id,
            time,
            author: meta.author.map(User::stored).transpose()?,
            salts: self.salts,
            data: self.data,
        }))
    }
}

impl Record {
    /// The stored encoding of the record.
    #[must_use]
    pub fn encode_stored(&self) -> Vec<u8> {
        let (leaf, meta) = self.leaf();
        let mut bytes = Vec::with_capacity(HEAD_BYTES + meta.len() + self.data().len());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&leaf.encode());
        bytes.extend_from_slice(&self.salts().meta);
        bytes.extend_from_slice(&self.salts().data);
        let len = u16::try_from(meta.len()).expect("a meta is at most META_BYTES_MAX");
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(&meta);
        bytes.extend_from_slice(self.data());
        let crc = crc32c::crc32c(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}

//! The location of one record and its codec.
//!
//! ```text
//! bytes  field, big-endian
//!     8  seq
//!     8  time, milliseconds since 1970-01-01T00:00:00Z
//!     4  number of the segment, from 1
//!     8  offset of the meta part; the data part follows at once
//!     2  length of the meta
//!     4  length of the data
//!     4  CRC-32C of the leaf
//! ```

use crate::journal::format::field::field;
use crate::journal::format::frame;
use crate::journal::format::frame::{GroupEntry, PART_BYTES};
use crate::journal::read::index::GroupOffset;
use crate::record::{Seq, Timestamp};

/// Length of an encoded location in bytes.
pub const LOCATION_BYTES: usize = 38;

/// Where a record is in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location {
    pub(super) seq: Seq,
    pub(super) time_ms: u64,
    pub(super) segment: u32,
    pub(super) parts_at: u64,
    pub(super) meta_bytes: u16,
    pub(super) data_bytes: u32,
    pub(super) leaf_crc: u32,
}

impl Location {
    /// The encoding shown in the module documentation.
    #[must_use]
    pub fn encode(&self) -> [u8; LOCATION_BYTES] {
        let mut bytes = [0; LOCATION_BYTES];
        bytes[0..8].copy_from_slice(&self.seq.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.time_ms.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.segment.to_be_bytes());
        bytes[20..28].copy_from_slice(&self.parts_at.to_be_bytes());
        bytes[28..30].copy_from_slice(&self.meta_bytes.to_be_bytes());
        bytes[30..34].copy_from_slice(&self.data_bytes.to_be_bytes());
        bytes[34..38].copy_from_slice(&self.leaf_crc.to_be_bytes());
        bytes
    }

    /// Decodes a location. Any bytes decode; only reading shows whether the log has a record there.
    #[must_use]
    pub fn decode(bytes: &[u8; LOCATION_BYTES]) -> Self {
        Self {
            seq: u64::from_be_bytes(field(bytes, 0)),
            time_ms: u64::from_be_bytes(field(bytes, 8)),
            segment: u32::from_be_bytes(field(bytes, 16)),
            parts_at: u64::from_be_bytes(field(bytes, 20)),
            meta_bytes: u16::from_be_bytes(field(bytes, 28)),
            data_bytes: u32::from_be_bytes(field(bytes, 30)),
            leaf_crc: u32::from_be_bytes(field(bytes, 34)),
        }
    }

    /// Seq of the record.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Time of the record.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.time_ms)
    }

    /// The location of an entry with this meta, in the group at `group`.
    pub fn new(entry: &GroupEntry<'_>, meta: &[u8], group: GroupOffset) -> Self {
        let data_bytes = entry.stored_bytes - frame::ENTRY_BYTES - 2 * PART_BYTES - meta.len();
        Self {
            seq: entry.facts.seq,
            time_ms: entry.facts.time_ms,
            segment: u32::try_from(group.segment + 1).expect("a log has less than 2^32 segments"),
            parts_at: group.offset + entry.parts_at as u64,
            meta_bytes: u16::try_from(meta.len()).expect("a meta is at most META_BYTES_MAX"),
            data_bytes: u32::try_from(data_bytes).expect("a part has less than 2^32 bytes"),
            leaf_crc: crc32c::crc32c(entry.leaf),
        }
    }

    /// Bytes of the record's two parts, each with its checksum and salt.
    #[must_use]
    pub fn parts_bytes(&self) -> u64 {
        2 * PART_BYTES as u64 + u64::from(self.meta_bytes) + u64::from(self.data_bytes)
    }
}

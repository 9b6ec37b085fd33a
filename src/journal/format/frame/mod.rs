//! The group frame: the records that one append writes and syncs together. No I/O.
//!
//! A frame begins at a multiple of 8 bytes in its segment. All numbers are little-endian, except
//! inside leaves and metas, which have encodings of their own.
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic: 8A "BGROUP" 00, invalid UTF-8 and so in no name and no data
//!      8      8  length of the frame, from the magic to the end of the padding
//!     16      8  number of the group, from 1
//!     24      8  seq of its first record
//!     32      4  number of its records, n, at least 1
//!     36      4  CRC-32C of: id of the log ‖ bytes 0 to 36 ‖ bytes 40 to 72 + 92 n
//!     40     32  chain after its last record
//!     72   84 n  the leaves
//!            8 n  for each record: length of its meta, 4 bytes; length of its data, 4 bytes
//!             …  for each record: its meta part, then its data part
//!        0 to 7  zeros, to a multiple of 8
//! ```
//!
//! A part:
//!
//! ```text
//! offset  bytes  field
//!      0      4  CRC-32C of: seq, 8 bytes ‖ kind, 1 byte: 0 for meta, 1 for data ‖ salt ‖ bytes
//!      4     16  salt
//!     20      …  the bytes that the leaf commits to
//! ```
//!
//! A part is [erased] in place by overwriting all its bytes, CRC and salt included, with zeros:
//! neither the frame's CRC nor the chain nor another part depends on its content. Every other
//! change of a byte is detected, and so is a swap of two parts, because a part's CRC covers the seq
//! and the kind.
//!
//! The frame does not verify commitments or the chain, or that it continues the log; its readers do.
//!
//! [erased]: StoredPart::Erased

mod decode;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use uuid::Uuid;

pub use decode::{FrameError, GroupEntry, StoredPart, decode, frame_bytes, part};

use crate::audit::{Digest, LEAF_BYTES, SALT_BYTES, Salt, chain};
use crate::record::{META_BYTES_MAX, Record, Seq};

/// Frames begin at multiples of this, so that a search for frames has few offsets to try.
pub const ALIGN_BYTES: usize = 8;

/// Bytes before the leaves.
pub const HEADER_BYTES: usize = 72;

/// Bytes of a record before the parts: its leaf and two lengths.
pub const ENTRY_BYTES: usize = LEAF_BYTES + 8;

/// Bytes of a part before its content: CRC and salt.
pub const PART_BYTES: usize = 4 + SALT_BYTES;

/// Maximum length of a frame in bytes, far above what one append collects. A reader takes a greater
/// length for damage, rather than allocate it.
pub const FRAME_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

pub const MAGIC: [u8; 8] = *b"\x8aBGROUP\0";
const CRC_AT: usize = 36;

/// Which of a record's two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PartKind {
    /// The record's names, version and id.
    Meta = 0,
    /// The record's value.
    Data = 1,
}

/// The end of the log before a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// Id of the log.
    pub log: Uuid,
    /// Number of the group that is to follow.
    pub group: u64,
    /// Chain before the group's first record.
    pub chain_before: Digest,
}

/// An encoded frame.
#[derive(Debug)]
pub struct GroupFrame {
    /// The whole frame.
    pub bytes: Vec<u8>,
    /// Chain after its last record.
    pub chain_after: Digest,
}

/// Encodes the frame of one group.
///
/// # Panics
/// If there is no record, or if a length does not fit its field. The limits on collecting a group
/// are far below that.
#[must_use]
pub fn encode(predecessor: &Predecessor, records: &[Arc<Record>]) -> GroupFrame {
    let first = records.first().expect("a group has a record");
    let count = u32::try_from(records.len()).expect("a group has less than 2^32 records");
    let index_at = HEADER_BYTES + records.len() * LEAF_BYTES;
    let parts_at = HEADER_BYTES + records.len() * ENTRY_BYTES;
    // A record's JSON contains its meta and data, so it is at least as long as the two.
    let parts: usize = records.iter().map(|record| record.json().len() + 2 * PART_BYTES).sum();
    let mut bytes = Vec::with_capacity(parts_at + parts + ALIGN_BYTES);
    bytes.resize(parts_at, 0);
    let mut chain_after = predecessor.chain_before;
    let mut meta = Vec::with_capacity(META_BYTES_MAX);
    for (i, record) in records.iter().enumerate() {
        let leaf = record.leaf_into(&mut meta).encode();
        chain_after = chain(&chain_after, &leaf);
        bytes[HEADER_BYTES + i * LEAF_BYTES..][..LEAF_BYTES].copy_from_slice(&leaf);
        bytes[index_at + i * 8..][..4].copy_from_slice(&length(&meta));
        bytes[index_at + i * 8 + 4..][..4].copy_from_slice(&length(record.data()));
        push_part(&mut bytes, (record.seq(), PartKind::Meta), &record.salts().meta, &meta);
        push_part(&mut bytes, (record.seq(), PartKind::Data), &record.salts().data, record.data());
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGN_BYTES), 0);
    let frame_bytes = bytes.len() as u64;
    assert!(frame_bytes <= FRAME_BYTES_MAX, "a group has at most {FRAME_BYTES_MAX} bytes");
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&frame_bytes.to_le_bytes());
    bytes[16..24].copy_from_slice(&predecessor.group.to_le_bytes());
    bytes[24..32].copy_from_slice(&first.seq().to_le_bytes());
    bytes[32..36].copy_from_slice(&count.to_le_bytes());
    bytes[40..72].copy_from_slice(&chain_after);
    let crc = head_crc(predecessor.log, &bytes[..parts_at]);
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    GroupFrame { bytes, chain_after }
}

fn push_part(bytes: &mut Vec<u8>, (seq, kind): (Seq, PartKind), salt: &Salt, content: &[u8]) {
    let at = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(salt);
    bytes.extend_from_slice(content);
    let crc = part_crc(seq, kind, &bytes[at + 4..]);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

fn length(content: &[u8]) -> [u8; 4] {
    u32::try_from(content.len()).expect("a part has less than 2^32 bytes").to_le_bytes()
}

/// CRC of everything before the parts. It covers the log's id, so that a frame of another log in
/// reused disk blocks is rejected.
fn head_crc(log: Uuid, head: &[u8]) -> u32 {
    let crc = crc32c::crc32c(log.as_bytes());
    let crc = crc32c::crc32c_append(crc, &head[..CRC_AT]);
    crc32c::crc32c_append(crc, &head[CRC_AT + 4..])
}

fn part_crc(seq: Seq, kind: PartKind, salted: &[u8]) -> u32 {
    let mut owner = [0; 9];
    owner[..8].copy_from_slice(&seq.to_le_bytes());
    owner[8] = kind as u8;
    crc32c::crc32c_append(crc32c::crc32c(&owner), salted)
}

//! Constants and checksums that encoding and decoding share.

use uuid::Uuid;

use crate::audit::{LEAF_BYTES, SALT_BYTES};
use crate::record::Seq;

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

/// The first bytes of a frame.
pub const MAGIC: [u8; 8] = *b"\x8aBGROUP\0";

/// Offset of the CRC of everything before the parts.
pub const CRC_AT: usize = 36;

/// Which of a record's two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PartKind {
    /// The record's names, version and id.
    Meta = 0,
    /// The record's value.
    Data = 1,
}

/// CRC of everything before the parts. It covers the log's id, so that a frame of another log in
/// reused disk blocks is rejected.
pub fn head_crc(log: Uuid, head: &[u8]) -> u32 {
    let crc = crc32c::crc32c(log.as_bytes());
    let crc = crc32c::crc32c_append(crc, &head[..CRC_AT]);
    crc32c::crc32c_append(crc, &head[CRC_AT + 4..])
}

/// CRC of a part: of its seq, its kind, and all its bytes after the CRC itself.
pub fn part_crc(seq: Seq, kind: PartKind, salted: &[u8]) -> u32 {
    let mut owner = [0; 9];
    owner[..8].copy_from_slice(&seq.to_le_bytes());
    owner[8] = kind as u8;
    crc32c::crc32c_append(crc32c::crc32c(&owner), salted)
}

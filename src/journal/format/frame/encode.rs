//! Encoding of frames.

use std::sync::Arc;

use uuid::Uuid;

use crate::audit::{Digest, LEAF_BYTES, Salt, chain};
use crate::journal::format::frame::layout::{
    ALIGN_BYTES, CRC_AT, ENTRY_BYTES, FRAME_BYTES_MAX, HEADER_BYTES, MAGIC, PART_BYTES, PartKind,
    head_crc, part_crc,
};
use crate::record::{META_BYTES_MAX, Record, Seq};

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

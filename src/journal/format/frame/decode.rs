//! Decoding of frames: nothing is used before its checksum has matched.

use std::fmt;

use uuid::Uuid;

use crate::audit::{Digest, LEAF_BYTES, Leaf, Salt};
use crate::journal::format::field::field;
use crate::journal::format::frame::layout::{
    ALIGN_BYTES, CRC_AT, ENTRY_BYTES, FRAME_BYTES_MAX, HEADER_BYTES, MAGIC, PART_BYTES, PartKind,
    head_crc, part_crc,
};
use crate::record::Seq;

/// A frame whose checksum over everything before the parts has matched.
#[derive(Clone, Copy, Debug)]
pub struct DecodedGroup<'a> {
    /// Number of the group.
    pub number: u64,
    /// Seq of its first record.
    pub first_seq: Seq,
    /// Number of its records, at least 1.
    pub count: u32,
    /// Chain after its last record as the frame states it, not verified against the leaves.
    pub chain_after: Digest,
    /// The whole frame.
    bytes: &'a [u8],
}

/// One record of a group.
#[derive(Clone, Copy, Debug)]
pub struct GroupEntry<'a> {
    /// Its encoded leaf.
    pub leaf: &'a [u8; LEAF_BYTES],
    /// The decoded leaf.
    pub facts: Leaf,
    /// Its names, version and id.
    pub meta: StoredPart<'a>,
    /// Its value.
    pub data: StoredPart<'a>,
    /// Offset of its meta part in the frame; the data part follows immediately.
    pub parts_at: usize,
    /// Its length in the frame, in bytes.
    pub stored_bytes: usize,
}

/// One part of a record as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredPart<'a> {
    /// All bytes are zero, checksum and salt included.
    Erased,
    /// Intact: its checksum has matched.
    Whole {
        /// Salt of the leaf's commitment.
        salt: Salt,
        /// The bytes that the leaf commits to.
        bytes: &'a [u8],
    },
}

/// Why a frame is not intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The checksum over header, leaves and index does not match.
    Head,
    /// Its lengths contradict each other or the available bytes.
    Length,
    /// It does not begin with the magic.
    Magic,
    /// The padding is not zero.
    Padding,
    /// A part's checksum does not match.
    Part(Seq, PartKind),
    /// A leaf has another format or another seq.
    Leaf(Seq),
}

impl fmt::Display for FrameError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => out.write_str("the checksum of a group's header and leaves differs"),
            Self::Length => out.write_str("a group's length is invalid"),
            Self::Magic => out.write_str("no group begins here, and not only zeros follow"),
            Self::Padding => out.write_str("a group's padding is not zero"),
            Self::Part(seq, PartKind::Meta) => {
                write!(out, "the checksum of the meta of seq {seq} differs")
            }
            Self::Part(seq, PartKind::Data) => {
                write!(out, "the checksum of the data of seq {seq} differs")
            }
            Self::Leaf(seq) => write!(out, "the leaf of seq {seq} has another format or seq"),
        }
    }
}

/// Length in bytes of the frame with this header, so that a reader can fetch it. Not to be trusted
/// before [`decode`] has checked the frame.
pub fn frame_bytes(header: &[u8; HEADER_BYTES]) -> Result<u64, FrameError> {
    if header[..8] != MAGIC {
        return Err(FrameError::Magic);
    }
    let bytes = u64::from_le_bytes(field(header, 8));
    let count = u64::from(u32::from_le_bytes(field(header, 32)));
    // With at most 2^32 records neither the sum nor the product overflows.
    let least = HEADER_BYTES as u64 + count * (ENTRY_BYTES + 2 * PART_BYTES) as u64;
    let aligned = bytes.is_multiple_of(ALIGN_BYTES as u64);
    let possible = count > 0 && aligned && (least..=FRAME_BYTES_MAX).contains(&bytes);
    if possible { Ok(bytes) } else { Err(FrameError::Length) }
}

/// Decodes the frame at the beginning of `bytes`. The parts are checked when they are read.
pub fn decode(log: Uuid, bytes: &[u8]) -> Result<DecodedGroup<'_>, FrameError> {
    let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(FrameError::Length)?;
    let len = usize::try_from(frame_bytes(header)?).map_err(|_| FrameError::Length)?;
    let bytes = bytes.get(..len).ok_or(FrameError::Length)?;
    let count = u32::from_le_bytes(field(header, 32));
    let group = DecodedGroup {
        number: u64::from_le_bytes(field(header, 16)),
        first_seq: u64::from_le_bytes(field(header, 24)),
        count,
        chain_after: field(header, 40),
        bytes,
    };
    if head_crc(log, &bytes[..group.parts_at()]) != u32::from_le_bytes(field(header, CRC_AT)) {
        return Err(FrameError::Head);
    }
    // The sum does not overflow: it has at most 2 * 2^32 terms below 2^32 + 20.
    let parts: u64 = (0..group.len())
        .map(|i| group.part_bytes(i))
        .map(|(meta, data)| meta as u64 + data as u64)
        .sum();
    let end = group.parts_at() as u64 + parts;
    if end.next_multiple_of(ALIGN_BYTES as u64) != len as u64 {
        return Err(FrameError::Length);
    }
    let last = group.first_seq.checked_add(u64::from(count) - 1);
    last.ok_or(FrameError::Length)?;
    // `end` is at most `len`, which is a usize.
    if bytes[end as usize..].iter().any(|byte| *byte != 0) {
        return Err(FrameError::Padding);
    }
    Ok(group)
}

impl<'a> DecodedGroup<'a> {
    /// Length of the frame in bytes.
    pub fn frame_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Seq of its last record.
    pub fn last_seq(&self) -> Seq {
        self.first_seq + u64::from(self.count - 1)
    }

    /// The first record that is not intact, and why.
    pub fn first_fault(&self) -> Option<(Seq, String)> {
        self.entries().zip(self.first_seq..).find_map(|(entry, seq)| match entry {
            Ok(GroupEntry {
                meta: StoredPart::Whole { .. },
                data: StoredPart::Whole { .. },
                ..
            }) => None,
            Ok(_) => Some((seq, "a part is all zeros".to_owned())),
            Err(fault) => Some((seq, fault.to_string())),
        })
    }

    /// The records in order, with their parts checked. The records after a bad one still follow.
    pub fn entries(self) -> impl Iterator<Item = Result<GroupEntry<'a>, FrameError>> {
        self.entries_from(0)
    }

    /// All records except the first `skipped`, whose parts are not checked.
    pub fn entries_from(
        self,
        skipped: usize,
    ) -> impl Iterator<Item = Result<GroupEntry<'a>, FrameError>> {
        let skipped = skipped.min(self.len());
        let before = (0..skipped).map(|i| self.part_bytes(i)).map(|(meta, data)| meta + data);
        let mut at = self.parts_at() + before.sum::<usize>();
        (skipped..self.len()).map(move |i| {
            let seq = self.first_seq + i as u64;
            let (meta_bytes, data_bytes) = self.part_bytes(i);
            let parts_at = at;
            at += meta_bytes + data_bytes;
            let (meta, data) = self.bytes[parts_at..at].split_at(meta_bytes);
            let leaf = self.leaf(i);
            let facts = Leaf::decode(leaf).map_err(|_| FrameError::Leaf(seq))?;
            if facts.seq != seq {
                return Err(FrameError::Leaf(seq));
            }
            Ok(GroupEntry {
                leaf,
                facts,
                meta: part(seq, PartKind::Meta, meta)?,
                data: part(seq, PartKind::Data, data)?,
                parts_at,
                stored_bytes: ENTRY_BYTES + meta_bytes + data_bytes,
            })
        })
    }

    /// The meta of the record `seq`, if it is intact; its data need not be.
    pub fn meta(&self, seq: Seq) -> Option<&'a [u8]> {
        let i =
            usize::try_from(seq.checked_sub(self.first_seq)?).ok().filter(|i| *i < self.len())?;
        let before = (0..i).map(|i| self.part_bytes(i)).map(|(meta, data)| meta + data);
        let at = self.parts_at() + before.sum::<usize>();
        match part(seq, PartKind::Meta, &self.bytes[at..][..self.part_bytes(i).0]) {
            Ok(StoredPart::Whole { bytes, .. }) => Some(bytes),
            Ok(StoredPart::Erased) | Err(_) => None,
        }
    }

    fn len(&self) -> usize {
        self.count as usize
    }

    fn parts_at(&self) -> usize {
        HEADER_BYTES + self.len() * ENTRY_BYTES
    }

    fn leaf(&self, i: usize) -> &'a [u8; LEAF_BYTES] {
        let leaf = self.bytes[leaf_at(i)..].first_chunk();
        leaf.expect("the length was checked against the count")
    }

    /// Lengths of the meta part and the data part of record `i`, with CRC and salt.
    fn part_bytes(&self, i: usize) -> (usize, usize) {
        let at = HEADER_BYTES + self.len() * LEAF_BYTES + i * 8;
        let meta = u32::from_le_bytes(field(self.bytes, at)) as usize;
        let data = u32::from_le_bytes(field(self.bytes, at + 4)) as usize;
        (PART_BYTES + meta, PART_BYTES + data)
    }
}

/// Offset in the frame of the leaf of record `i`.
fn leaf_at(i: usize) -> usize {
    HEADER_BYTES + i * LEAF_BYTES
}

/// Checks a part.
pub fn part(seq: Seq, kind: PartKind, bytes: &[u8]) -> Result<StoredPart<'_>, FrameError> {
    // No intact part is all zeros: a meta begins with a nonzero length, and zeros are not JSON.
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(StoredPart::Erased);
    }
    if part_crc(seq, kind, &bytes[4..]) != u32::from_le_bytes(field(bytes, 0)) {
        return Err(FrameError::Part(seq, kind));
    }
    Ok(StoredPart::Whole { salt: field(bytes, 4), bytes: &bytes[PART_BYTES..] })
}

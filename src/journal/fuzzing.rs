//! Properties of the journal's decoders, for the fuzzer and its corpora.

use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use crate::audit::LEAF_BYTES;
use crate::fuzzing::records::assert_matches_stored;
use crate::journal::format::frame::{
    ALIGN_BYTES, ENTRY_BYTES, GroupEntry, HEADER_BYTES, PART_BYTES,
};
use crate::journal::format::segment::SegmentHeader;
use crate::journal::format::{frame, identity, segment, watermark};
use crate::journal::open::snapshot;
use crate::journal::read::location::{LOCATION_BYTES, Location, PackedList};
use crate::journal::read::stored_record::stored_record;
use crate::record::Record;

/// The log that all corpus entries belong to.
pub(crate) const LOG: Uuid = Uuid::from_u128(9);

/// Fuzzes the header of a segment.
pub fn header(bytes: &[u8]) {
    check_header(bytes);
    let mut repaired = bytes.to_vec();
    if let Some((head, _)) = repaired.split_first_chunk_mut::<{ segment::HEADER_BYTES }>() {
        let crc = crc32c::crc32c(&head[..100]);
        head[100..].copy_from_slice(&crc.to_le_bytes());
        check_header(&repaired);
    }
}

fn check_header(bytes: &[u8]) {
    if let Ok(header) = SegmentHeader::decode(bytes) {
        assert_eq!(header.encode(), bytes[..segment::HEADER_BYTES]);
    }
}

/// Fuzzes the file name of a segment: each seq has exactly one.
///
/// # Panics
/// When the property does not hold.
pub fn segment(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(first_seq) = segment::first_seq(text) {
        assert!(segment::is_segment(text));
        assert_eq!(segment::path(Path::new("journal"), first_seq), Path::new("journal").join(text));
    }
}

/// Fuzzes a group and its records.
pub fn frame(bytes: &[u8]) {
    check_frame(bytes);
    let mut repaired = bytes.to_vec();
    if repair_checksums(&mut repaired).is_some() {
        check_frame(&repaired);
    }
}

fn check_frame(bytes: &[u8]) {
    let Ok(group) = frame::decode(LOG, bytes) else { return };
    let length = usize::try_from(group.frame_bytes()).expect("the frame is in memory");
    assert!(length <= bytes.len() && length.is_multiple_of(ALIGN_BYTES));
    assert_eq!(group.last_seq() - group.first_seq + 1, u64::from(group.count));
    let mut records = Vec::new();
    for entry in group.entries() {
        let Some(record) = entry.ok().as_ref().and_then(record) else { return };
        records.push(Arc::new(record));
    }
    assert_eq!(records.len(), group.count as usize);
    // The chain and the head's checksum depend on the chain before the group, which is not in it.
    let predecessor = frame::Predecessor { log: LOG, group: group.number, chain_before: [0; 32] };
    let encoded = frame::encode(&predecessor, &records).bytes;
    assert_eq!(encoded.len(), length);
    assert_eq!(encoded[..36], bytes[..36]);
    assert_eq!(encoded[HEADER_BYTES..], bytes[HEADER_BYTES..length]);
}

fn record(entry: &GroupEntry<'_>) -> Option<Record> {
    let stored = stored_record(entry).ok()?;
    let record = stored.to_record().ok()?;
    assert_matches_stored(&record, &stored);
    assert_eq!(record.seq(), entry.facts.seq);
    Some(record)
}

/// Corrects the checksums of the parts and of the head, as far as the lengths allow.
fn repair_checksums(bytes: &mut [u8]) -> Option<()> {
    let number =
        |bytes: &[u8], at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let count = number(bytes, 32)? as usize;
    let first_seq = u64::from_le_bytes(*bytes.get(24..)?.first_chunk()?);
    let parts_at = HEADER_BYTES.checked_add(count.checked_mul(ENTRY_BYTES)?)?;
    bytes.get(..parts_at)?;
    let mut at = parts_at;
    for index in 0..count {
        let lengths_at = HEADER_BYTES + count * LEAF_BYTES + index * 8;
        for kind in [0u8, 1] {
            let length = number(bytes, lengths_at + 4 * usize::from(kind))? as usize;
            let Some(part) = bytes.get_mut(at..at + PART_BYTES + length) else { break };
            let crc = crc32c::crc32c(&first_seq.wrapping_add(index as u64).to_le_bytes());
            let crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, &[kind]), &part[4..]);
            part[..4].copy_from_slice(&crc.to_le_bytes());
            at += PART_BYTES + length;
        }
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(LOG.as_bytes()), &bytes[..36]);
    let crc = crc32c::crc32c_append(crc, &bytes[40..parts_at]);
    bytes[36..40].copy_from_slice(&crc.to_le_bytes());
    Some(())
}

/// Fuzzes the identity file.
pub fn identity(bytes: &[u8]) {
    check_identity(bytes);
    if let Some(body) = bytes.len().checked_sub(16).map(|end| &bytes[..end]) {
        let line = format!("crc32c {:08x}\n", crc32c::crc32c(body));
        check_identity(&[body, line.as_bytes()].concat());
    }
}

fn check_identity(bytes: &[u8]) {
    if let Ok(log) = identity::decode(bytes) {
        assert_eq!(identity::encode(log).as_bytes(), bytes);
    }
}

/// Fuzzes a slot of the watermark file.
pub fn watermark(bytes: &[u8]) {
    watermark::fuzz(LOG, bytes);
    let mut repaired = bytes.to_vec();
    if repaired.len() >= 80 {
        let crc = crc32c::crc32c_append(crc32c::crc32c(LOG.as_bytes()), &repaired[..76]);
        repaired[76..80].copy_from_slice(&crc.to_le_bytes());
        watermark::fuzz(LOG, &repaired);
    }
}

/// Fuzzes a snapshot: its trailer must be the end of the file.
pub fn snapshot(bytes: &[u8]) {
    check_snapshot(bytes);
    if let Some((body, _)) = bytes.split_last_chunk::<4>() {
        check_snapshot(&[body, &crc32c::crc32c(body).to_le_bytes()].concat());
    }
}

fn check_snapshot(bytes: &[u8]) {
    if let Ok(snapshot::SnapshotTrailer { head, chain, index }) = snapshot::read_trailer(bytes, LOG)
    {
        let end = [&head.to_le_bytes()[..], &chain, index.encode().as_slice()].concat();
        assert!(bytes[..bytes.len() - 4].ends_with(&end));
    }
}

/// Fuzzes a location, which any bytes are, and a packed list, which has one encoding.
///
/// # Panics
/// When the property does not hold.
pub fn location(bytes: &[u8]) {
    if let Some((location, _)) = bytes.split_first_chunk::<LOCATION_BYTES>() {
        assert_eq!(&Location::decode(location).encode(), location);
    }
    let list = PackedList::read(bytes).map(|locations| {
        let mut list = PackedList::default();
        locations.iter().for_each(|location| list.push(location));
        assert_eq!(list.bytes(), bytes);
        (list, locations.len() as u64)
    });
    assert_eq!(PackedList::decode(bytes), list);
}

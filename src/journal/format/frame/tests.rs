//! Round trips, erasure in place, and detection of every other change.

use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;

use crate::audit::chain;
use crate::journal::format::frame::layout::{CRC_AT, head_crc};
use crate::journal::format::frame::{
    ALIGN_BYTES, ENTRY_BYTES, FrameError, HEADER_BYTES, PART_BYTES, PartKind, Predecessor,
    StoredPart, decode, encode,
};
use crate::journal::tests::{group, record};
use crate::record::Record;

const LOG: Uuid = Uuid::from_u128(0x0198);

fn predecessor() -> Predecessor {
    Predecessor { log: LOG, group: 7, chain_before: [9; 32] }
}

/// The records of a frame and the number of its erased parts; `None` if the frame is not intact.
fn read(bytes: &[u8]) -> Option<(Vec<Record>, usize)> {
    let group = decode(LOG, bytes).ok()?;
    let mut chain_after = predecessor().chain_before;
    let mut records = Vec::new();
    let mut erased = 0;
    for entry in group.entries() {
        let entry = entry.ok()?;
        chain_after = chain(&chain_after, entry.leaf);
        erased += usize::from(entry.meta == StoredPart::Erased)
            + usize::from(entry.data == StoredPart::Erased);
        if let (
            StoredPart::Whole { salt: meta_salt, bytes: meta },
            StoredPart::Whole { salt, bytes: data },
        ) = (entry.meta, entry.data)
        {
            let salts = crate::audit::Salts { meta: meta_salt, data: salt };
            let stored = crate::record::StoredRecord { leaf: entry.leaf, salts, meta, data };
            stored.verify().ok()?;
            records.push(stored.to_record().ok()?);
        }
    }
    (chain_after == group.chain_after).then_some((records, erased))
}

/// The range of each record's meta part and data part.
fn parts(records: &[Arc<Record>]) -> Vec<[std::ops::Range<usize>; 2]> {
    let mut at = HEADER_BYTES + records.len() * ENTRY_BYTES;
    let mut ranges = Vec::new();
    for record in records {
        let meta = at..at + PART_BYTES + record.leaf().1.len();
        let data = meta.end..meta.end + PART_BYTES + record.data().len();
        at = data.end;
        ranges.push([meta, data]);
    }
    ranges
}

proptest! {
    #[test]
    fn group_round_trips(
        head in 0u64..u64::from(u32::MAX), lengths in prop::collection::vec(0usize..400, 1..9),
    ) {
        let records = group(head, &lengths);
        let frame = encode(&predecessor(), &records);
        prop_assert_eq!(frame.bytes.len() % ALIGN_BYTES, 0);
        let decoded = decode(LOG, &frame.bytes).unwrap();
        prop_assert_eq!((decoded.number, decoded.first_seq), (7, head + 1));
        prop_assert_eq!(decoded.last_seq(), head + lengths.len() as u64);
        prop_assert_eq!(decoded.chain_after, frame.chain_after);
        prop_assert_eq!(decoded.frame_bytes(), frame.bytes.len() as u64);
        let plain: Vec<Record> = records.iter().map(|record| Record::clone(record)).collect();
        prop_assert_eq!(read(&frame.bytes), Some((plain, 0)));
        // Bytes after the frame do not matter.
        let mut followed = frame.bytes.clone();
        followed.extend([1; 16]);
        prop_assert!(read(&followed).is_some());
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(
        mut bytes: Vec<u8>, fields in prop::collection::vec((0usize..200, any::<u8>()), 0..8),
        real: bool,
    ) {
        if real {
            bytes = encode(&predecessor(), &group(3, &[5, 0])).bytes;
            for (at, byte) in fields {
                bytes[at] = byte;
            }
            // With a matching checksum the other checks are reached.
            let parts_at = HEADER_BYTES + 2 * ENTRY_BYTES;
            let crc = head_crc(LOG, &bytes[..parts_at]);
            bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        }
        if let Ok(group) = decode(LOG, &bytes) {
            prop_assert_eq!(group.entries().count(), group.count as usize);
        }
    }
}

#[test]
fn record_is_erased_in_place_and_everything_else_still_verifies() {
    let records = group(3, &[20, 0, 7]);
    let whole = encode(&predecessor(), &records).bytes;
    for (i, [meta, data]) in parts(&records).into_iter().enumerate() {
        for (erased, count) in [(data.clone(), 1), (meta.start..data.end, 2)] {
            let mut bytes = whole.clone();
            bytes[erased].fill(0);
            let (left, erased) = read(&bytes).unwrap();
            assert_eq!(erased, count);
            let others = records.iter().enumerate().filter(|(j, _)| *j != i);
            let others: Vec<Record> = others.map(|(_, record)| Record::clone(record)).collect();
            assert_eq!(left, others, "the chain and all other records still verify");
        }
    }
}

#[test]
fn any_other_change_is_detected() {
    let records = group(3, &[20, 0, 7]);
    let whole = encode(&predecessor(), &records).bytes;
    let erasable: Vec<_> = parts(&records).into_iter().flatten().collect();
    // Whether the only difference from the intact frame is parts that are entirely zero.
    let erased = |bytes: &[u8]| {
        let mut rest = whole.clone();
        for part in erasable.iter().filter(|part| bytes[(*part).clone()].iter().all(|b| *b == 0)) {
            rest[part.clone()].fill(0);
        }
        rest == bytes
    };
    for width in 1..=64 {
        for at in 0..=whole.len() - width {
            let mut bytes = whole.clone();
            bytes[at..at + width].fill(0);
            assert_eq!(read(&bytes).is_some(), erased(&bytes), "{width} bytes at {at}");
        }
    }
    for part in &erasable {
        let mut bytes = whole.clone();
        bytes[part.start..part.end - 1].fill(0);
        assert_eq!(read(&bytes).is_some(), erased(&bytes), "all but the last byte of {part:?}");
    }
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&bytes).is_none(), "bit {bit}");
    }
    for len in 0..whole.len() {
        assert!(read(&whole[..len]).is_none(), "cut at {len}");
    }
}

/// The two parts have equal lengths and intact checksums; only the seq differs.
#[test]
fn swapped_parts_are_detected() {
    let records = group(3, &[20, 20]);
    let mut bytes = encode(&predecessor(), &records).bytes;
    let [[_, first], [_, second]] = <[_; 2]>::try_from(parts(&records)).unwrap();
    assert_eq!(first.len(), second.len());
    for (a, b) in first.zip(second) {
        bytes.swap(a, b);
    }
    let faults: Vec<_> = decode(LOG, &bytes).unwrap().entries().map(Result::err).collect();
    assert_eq!(
        faults,
        [Some(FrameError::Part(4, PartKind::Data)), Some(FrameError::Part(5, PartKind::Data))]
    );
}

#[test]
fn frame_of_another_log_is_rejected() {
    let bytes = encode(&predecessor(), &[record(1, 5)]).bytes;
    assert_eq!(decode(Uuid::from_u128(1), &bytes).unwrap_err(), FrameError::Head);
}

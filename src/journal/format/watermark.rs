//! The watermark: evidence of how far the log was durable.
//!
//! The file `mark` has two slots, at offsets 0 and 4096, which are written alternately, so that an
//! interrupted write leaves the other slot intact. A slot, with all numbers little-endian:
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic: 8A "BMARK" 0D 0A
//!      8      8  number of the last durable group, 0 when there is none
//!     16      8  seq of its last record
//!     24     32  chain after it
//!     56      8  number of the segment that the next group was to be written to
//!     64      8  offset in that segment where it was to begin
//!     72      4  zeros
//!     76      4  CRC-32C of: id of the log ‖ the 76 bytes before
//! ```
//!
//! A watermark never claims more than was synced, because it is written after the sync. It is not
//! synced itself, so after a power cut it may claim less. A damaged slot counts as absent.

use std::fs::File;
use std::io;
use std::path::Path;

use uuid::Uuid;

use crate::audit::Digest;
use crate::journal::disk::Disk;
use crate::journal::format::field::field;
use crate::record::Seq;

/// The file's name in the journal's directory.
pub const NAME: &str = "mark";

const SLOT_BYTES: usize = 80;
/// Slots lie in different pages and sectors, so that one torn write cannot damage both.
const SLOTS_AT: [u64; 2] = [0, 4096];
const FILE_BYTES: u64 = 8192;
const MAGIC: [u8; 8] = *b"\x8aBMARK\r\n";

/// How far the log was known to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// Number of the last durable group, 0 if there is none.
    pub group: u64,
    /// Seq of its last record.
    pub seq: Seq,
    /// Chain after it.
    pub chain: Digest,
    /// Number of the segment that the next group was to be written to.
    pub segment: u64,
    /// Offset in that segment where it was to begin.
    pub offset: u64,
}

/// The contents of a watermark file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatermarkContents {
    /// The later of the intact slots.
    pub watermark: Option<Watermark>,
    /// Whether the file has the wrong size or a slot is damaged.
    pub damaged: bool,
    /// The slot to write next: never the one that holds `watermark`.
    next_slot: usize,
}

/// An open watermark file.
#[derive(Debug)]
pub struct WatermarkFile {
    file: File,
    log: Uuid,
    next_slot: usize,
}

impl WatermarkFile {
    /// Reads a watermark file; a missing file has no watermark.
    pub fn read(path: &Path, log: Uuid) -> io::Result<WatermarkContents> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(WatermarkContents::default());
            }
            Err(error) => return Err(error),
        };
        let mut contents = WatermarkContents {
            damaged: bytes.len() as u64 != FILE_BYTES,
            ..WatermarkContents::default()
        };
        for (slot, at) in SLOTS_AT.into_iter().enumerate() {
            let Some(slot_bytes) = bytes.get(at as usize..at as usize + SLOT_BYTES) else {
                continue;
            };
            if slot_bytes.iter().all(|byte| *byte == 0) {
                continue;
            }
            match decode(log, slot_bytes) {
                Some(watermark)
                    if contents.watermark.is_none_or(|other| other.group < watermark.group) =>
                {
                    contents.watermark = Some(watermark);
                    contents.next_slot = 1 - slot;
                }
                Some(_) => {}
                None => contents.damaged = true,
            }
        }
        Ok(contents)
    }

    /// Opens the file for writing; creates it if it is missing.
    pub fn open(
        disk: &Disk,
        path: &Path,
        log: Uuid,
        contents: &WatermarkContents,
    ) -> io::Result<Self> {
        let file = disk.open_sized(path, FILE_BYTES)?;
        Ok(Self { file, log, next_slot: contents.next_slot })
    }

    /// Writes the watermark over the older slot, without a sync.
    pub fn write(&mut self, disk: &Disk, watermark: &Watermark) -> io::Result<()> {
        disk.write(&self.file, &encode(self.log, watermark), SLOTS_AT[self.next_slot])?;
        self.next_slot = 1 - self.next_slot;
        Ok(())
    }

    /// Syncs the file.
    pub fn sync(&self, disk: &Disk) -> io::Result<()> {
        disk.sync_all(&self.file)
    }
}

#[must_use]
fn encode(log: Uuid, watermark: &Watermark) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&watermark.group.to_le_bytes());
    bytes[16..24].copy_from_slice(&watermark.seq.to_le_bytes());
    bytes[24..56].copy_from_slice(&watermark.chain);
    bytes[56..64].copy_from_slice(&watermark.segment.to_le_bytes());
    bytes[64..72].copy_from_slice(&watermark.offset.to_le_bytes());
    let crc = crc(log, &bytes);
    bytes[76..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(log: Uuid, bytes: &[u8]) -> Option<Watermark> {
    let bytes = bytes.first_chunk::<SLOT_BYTES>()?;
    let watermark = Watermark {
        group: u64::from_le_bytes(field(bytes, 8)),
        seq: u64::from_le_bytes(field(bytes, 16)),
        chain: field(bytes, 24),
        segment: u64::from_le_bytes(field(bytes, 56)),
        offset: u64::from_le_bytes(field(bytes, 64)),
    };
    (encode(log, &watermark) == *bytes).then_some(watermark)
}

fn crc(log: Uuid, bytes: &[u8; SLOT_BYTES]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(log.as_bytes()), &bytes[..76])
}

/// Fuzzing property: a decoded slot encodes to the same bytes.
#[cfg(any(test, fuzzing))]
pub fn fuzz(log: Uuid, bytes: &[u8]) {
    if let Some(watermark) = decode(log, bytes) {
        assert_eq!(encode(log, &watermark), bytes[..SLOT_BYTES]);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    const LOG: Uuid = Uuid::from_u128(4);

    fn watermark(group: u64) -> Watermark {
        Watermark { group, seq: group * 3, chain: [8; 32], segment: 2, offset: 1040 }
    }

    #[test]
    fn every_bit_flip_in_a_slot_is_detected() {
        let whole = encode(LOG, &watermark(7));
        assert_eq!(decode(LOG, &whole), Some(watermark(7)));
        assert_eq!(decode(Uuid::from_u128(5), &whole), None);
        for bit in 0..SLOT_BYTES * 8 {
            let mut bytes = whole;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(LOG, &bytes), None, "bit {bit}");
        }
    }

    #[test]
    fn damaged_slot_leaves_the_other_and_is_written_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let disk = Disk::default();
        assert_eq!(WatermarkFile::read(&path, LOG).unwrap(), WatermarkContents::default());
        let mut file =
            WatermarkFile::open(&disk, &path, LOG, &WatermarkContents::default()).unwrap();
        for group in 1..=3 {
            file.write(&disk, &watermark(group)).unwrap();
            assert_eq!(WatermarkFile::read(&path, LOG).unwrap().watermark, Some(watermark(group)));
        }
        // The third write replaced the first.
        file.file.write_all_at(b"broken", 16).unwrap();
        let contents = WatermarkFile::read(&path, LOG).unwrap();
        assert_eq!((contents.watermark, contents.damaged), (Some(watermark(2)), true));
        let mut file = WatermarkFile::open(&disk, &path, LOG, &contents).unwrap();
        file.write(&disk, &watermark(4)).unwrap();
        let contents = WatermarkFile::read(&path, LOG).unwrap();
        assert_eq!((contents.watermark, contents.damaged), (Some(watermark(4)), false));
        let other = WatermarkFile::read(&path, Uuid::from_u128(5)).unwrap();
        assert_eq!((other.watermark, other.damaged), (None, true));
    }
}

//! A segment file: its name, header and size.
//!
//! A segment is named `<seq of its first record, 20 digits>.seg`. It begins with this header, in
//! which all numbers are little-endian; the groups follow, then zeros to the end of the file:
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic: 8A "BSEGM" 0D 0A
//!      8      4  format, 0
//!     12      4  zeros
//!     16     16  id of the log
//!     32      8  number of the segment, from 1
//!     40      8  seq of its first record
//!     48      8  number of its first group
//!     56      8  size of the file in bytes
//!     64     32  chain before its first record
//!     96      4  zeros
//!    100      4  CRC-32C of the 100 bytes before
//! ```

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::audit::Digest;
use crate::journal::format::field::field;
use crate::record::Seq;

/// Length of the header in bytes: a multiple of 8, because groups are aligned.
pub const HEADER_BYTES: usize = 104;

/// Offset of the first group: [`HEADER_BYTES`].
pub const FIRST_GROUP_AT: u64 = HEADER_BYTES as u64;

/// Size in bytes of a log's first segment. Each later segment is twice as large, up to the setting,
/// so that a small store stays small and a large one has few files.
pub const FIRST_SEGMENT_BYTES: u64 = 1024 * 1024;

const MAGIC: [u8; 8] = *b"\x8aBSEGM\r\n";
const FORMAT: u32 = 0;
const SUFFIX: &str = ".seg";
const NAME_DIGITS: usize = 20;

/// The header of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Id of the log.
    pub log: Uuid,
    /// Number of the segment, from 1.
    pub number: u64,
    /// Seq of its first record, even if not yet written.
    pub first_seq: Seq,
    /// Number of its first group, even if not yet written.
    pub first_group: u64,
    /// Size of the file in bytes.
    pub file_bytes: u64,
    /// Chain before its first record.
    pub chain_before: Digest,
}

/// Why a segment header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentHeaderError {
    /// The magic or the checksum does not match, or reserved bytes are not zero.
    Damaged,
    /// It is intact, but of this format, which this version does not know.
    Newer(u32),
    /// The file ends before the header does.
    Short,
}

impl SegmentHeader {
    /// Encodes the header.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..32].copy_from_slice(self.log.as_bytes());
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.first_group.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.file_bytes.to_le_bytes());
        bytes[64..96].copy_from_slice(&self.chain_before);
        let crc = crc32c::crc32c(&bytes[..100]);
        bytes[100..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Decodes the header at the beginning of `file`.
    pub fn decode(file: &[u8]) -> Result<Self, SegmentHeaderError> {
        let bytes = file.first_chunk::<HEADER_BYTES>().ok_or(SegmentHeaderError::Short)?;
        let crc = u32::from_le_bytes(field(bytes, 100));
        if bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..100]) != crc {
            return Err(SegmentHeaderError::Damaged);
        }
        match u32::from_le_bytes(field(bytes, 8)) {
            FORMAT => {}
            newer => return Err(SegmentHeaderError::Newer(newer)),
        }
        let header = Self {
            log: Uuid::from_bytes(field(bytes, 16)),
            number: u64::from_le_bytes(field(bytes, 32)),
            first_seq: u64::from_le_bytes(field(bytes, 40)),
            first_group: u64::from_le_bytes(field(bytes, 48)),
            file_bytes: u64::from_le_bytes(field(bytes, 56)),
            chain_before: field(bytes, 64),
        };
        if header.encode() == *bytes { Ok(header) } else { Err(SegmentHeaderError::Damaged) }
    }
}

/// Path of the segment that begins with the record `first_seq`.
pub fn path(journal: &Path, first_seq: Seq) -> PathBuf {
    journal.join(format!("{first_seq:0NAME_DIGITS$}{SUFFIX}"))
}

/// Whether a file name has the suffix of a segment.
pub fn is_segment(name: &str) -> bool {
    name.ends_with(SUFFIX)
}

/// Seq of the first record, according to the file name; `None` if it is not a segment's name.
pub fn first_seq(name: &str) -> Option<Seq> {
    let digits = name.strip_suffix(SUFFIX)?;
    let exact = digits.len() == NAME_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if exact { digits.parse().ok() } else { None }
}

/// Size in bytes of the segment after one of `before` bytes, so that a group of `group_bytes` fits:
/// doubled up to `bytes_max`, or exactly as large as needed for a group larger than that.
#[must_use]
pub fn next_bytes(before: u64, group_bytes: u64, bytes_max: u64) -> u64 {
    let needed = FIRST_GROUP_AT + group_bytes;
    let mut bytes = before.max(1);
    loop {
        bytes = bytes.saturating_mul(2);
        if bytes >= bytes_max {
            return bytes_max.max(needed);
        }
        if bytes >= needed {
            return bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            log: Uuid::from_u128(9),
            number: 3,
            first_seq: 1042,
            first_group: 77,
            file_bytes: 4096,
            chain_before: [5; 32],
        }
    }

    #[test]
    fn header_round_trips_and_every_bit_flip_is_detected() {
        let bytes = header().encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        assert_eq!(SegmentHeader::decode(&bytes[..103]), Err(SegmentHeaderError::Short));
        for bit in 0..HEADER_BYTES * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                SegmentHeader::decode(&changed),
                Err(SegmentHeaderError::Damaged),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn first_seq_has_exactly_one_file_name() {
        let path = path(Path::new("journal"), 1042);
        assert_eq!(path.to_str(), Some("journal/00000000000000001042.seg"));
        assert_eq!(first_seq("00000000000000001042.seg"), Some(1042));
        for name in ["1042.seg", "+0000000000000001042.seg", "00000000000000001042", "mark"] {
            assert_eq!(first_seq(name), None, "{name}");
        }
    }

    #[test]
    fn sizes_double_up_to_the_limit_and_a_larger_group_gets_its_own_size() {
        assert_eq!(next_bytes(1024, 100, 8192), 2048);
        assert_eq!(next_bytes(1024, 3000, 8192), 4096);
        assert_eq!(next_bytes(8192, 100, 8192), 8192);
        assert_eq!(next_bytes(1024, 9000, 8192), 9104);
        assert_eq!(next_bytes(9104, 100, 8192), 8192);
        assert_eq!(next_bytes(0, 100, 8192), 256);
    }
}

//! Locations: where a record is in the log, so that it can be read without decoding its group.
//!
//! **Owns** the location of a record, its codec (`packed_list` has that of several), and reading
//! records by location.
//!
//! **Promises** that a record read by its location is the one that the location was made for, as it
//! was written: its parts have checksums, and the leaf computed from them and from the location's
//! seq and time must match the checksum in the location. The leaf in the group, which is stored
//! apart from the parts, and the lengths there are not read: damage to only those is detected by a
//! read of the whole log.
//!
//! **Does not** protect the location itself: an index that stores it adds a checksum, and so can
//! tell a damaged location from a damaged log.
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
//!
//! A location stays valid forever: groups are never moved.

mod packed_list;
mod span;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

pub use packed_list::PackedList;
use thiserror::Error;

use crate::audit::{LEAF_BYTES, Salt, Salts};
use crate::journal::error::{JournalError, io_error};
use crate::journal::format::frame;
use crate::journal::format::frame::{GroupEntry, PART_BYTES, PartKind, StoredPart};
use crate::journal::read::index::GroupOffset;
use crate::journal::read::location::span::Span;
use crate::journal::read::reader::LogState;
use crate::record::{Meta, Record, RecordWithoutLeaf, Seq, Timestamp};

/// Length of an encoded location in bytes.
pub const LOCATION_BYTES: usize = 38;

/// Where a record is in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location {
    seq: Seq,
    time_ms: u64,
    segment: u32,
    parts_at: u64,
    meta_bytes: u16,
    data_bytes: u32,
    leaf_crc: u32,
}

/// The parts of a record that an index needs: its leaf, meta and location.
#[derive(Clone, Debug)]
pub struct LocatedRecord {
    /// Its encoded leaf.
    pub leaf: [u8; LEAF_BYTES],
    /// Where it is in the log.
    pub location: Location,
    meta: Box<[u8]>,
}

/// Why no record was read by its location.
#[derive(Debug, Error)]
pub enum LocationError {
    /// The log is damaged there or cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The location is not within the durable log, so it belongs to another log.
    #[error("a location is outside of the log")]
    OutsideLog,
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
    fn new(entry: &GroupEntry<'_>, meta: &[u8], group: GroupOffset) -> Self {
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

impl LocatedRecord {
    /// For an entry of the group at `group`, whose meta was decoded before.
    pub fn new(entry: &GroupEntry<'_>, meta: &[u8], group: GroupOffset) -> Self {
        Self { leaf: *entry.leaf, location: Location::new(entry, meta, group), meta: meta.into() }
    }

    /// Seq of the record.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.location.seq
    }

    /// Time of the record.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.location.time()
    }

    /// Meta of the record.
    #[must_use]
    pub fn meta(&self) -> Meta<'_> {
        Meta::decode(&self.meta).expect("the follower decoded it before")
    }
}

/// Reads the records at these locations. Ascending neighbours in a segment are read together.
pub fn records(shared: &LogState, locations: &[Location]) -> Result<Vec<Record>, LocationError> {
    let mut records = Vec::with_capacity(locations.len());
    // One segment at a time: a history may use more files than the cache keeps open.
    for locations in locations.chunk_by(|location, next| location.segment == next.segment) {
        let mut open: Vec<OpenLocation<'_>> = Vec::with_capacity(locations.len());
        for location in locations {
            open.push(OpenLocation::new(shared, location, open.last().map(|open| &open.file))?);
        }
        let mut span = Span::default();
        for (index, current) in open.iter().enumerate() {
            let parts = span.read(current, open[index..].iter().map(OpenLocation::parts))?;
            records.push(current.record(parts)?);
        }
    }
    Ok(records)
}

/// A location within the durable log, and the open file of its segment.
struct OpenLocation<'a> {
    shared: &'a LogState,
    location: &'a Location,
    segment: usize,
    file: Arc<File>,
}

impl<'a> OpenLocation<'a> {
    /// `file` is the segment's file if it is open already.
    fn new(
        shared: &'a LogState,
        location: &'a Location,
        file: Option<&Arc<File>>,
    ) -> Result<Self, LocationError> {
        let within = || {
            let segment = (location.segment as usize).checked_sub(1)?;
            let end = location.parts_at.checked_add(location.parts_bytes())?;
            shared.contains(segment, end).then_some(segment)
        };
        let segment = within().ok_or(LocationError::OutsideLog)?;
        let file = file.map_or_else(|| shared.cached_file(segment), |file| Ok(file.clone()));
        let file = file.map_err(|error| io_error("opening", shared.path(segment))(error))?;
        Ok(Self { shared, location, segment, file })
    }

    fn parts(&self) -> Range<u64> {
        self.location.parts_at..self.location.parts_at + self.location.parts_bytes()
    }

    /// Checks the parts and returns the record.
    fn record(&self, parts: &[u8]) -> Result<Record, JournalError> {
        let Location { seq, time_ms, meta_bytes, leaf_crc, .. } = *self.location;
        let (meta, data) = parts.split_at(PART_BYTES + usize::from(meta_bytes));
        let (meta_salt, meta) = self.part(seq, PartKind::Meta, meta)?;
        let (data_salt, data) = self.part(seq, PartKind::Data, data)?;
        let salts = Salts { meta: meta_salt, data: data_salt };
        let stored = RecordWithoutLeaf { seq, time_ms, salts, meta, data };
        if crc32c::crc32c(&stored.leaf().encode()) != leaf_crc {
            return Err(self.damage(format!("the parts of seq {seq} do not match its leaf")));
        }
        stored.record().map_err(|error| self.damage(format!("seq {seq}: {error}")))
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> Result<(), JournalError> {
        match self.file.read_exact_at(bytes, at) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damage("the file ends before the record does".to_owned()))
            }
            Err(error) => Err(io_error("reading", self.shared.path(self.segment))(error)),
        }
    }

    fn part<'b>(
        &self,
        seq: Seq,
        kind: PartKind,
        bytes: &'b [u8],
    ) -> Result<(Salt, &'b [u8]), JournalError> {
        match frame::part(seq, kind, bytes) {
            Ok(StoredPart::Whole { salt, bytes }) => Ok((salt, bytes)),
            Ok(StoredPart::Erased) => Err(self.damage(format!("a part of seq {seq} is all zeros"))),
            Err(fault) => Err(self.damage(fault.to_string())),
        }
    }

    fn damage(&self, what: String) -> JournalError {
        JournalError::DamagedRecord {
            file: self.shared.path(self.segment),
            offset: self.location.parts_at,
            what,
        }
    }
}

fn field<const N: usize>(bytes: &[u8; LOCATION_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

//! Places: where one record lies in the log, so that it is read without searching its group.
//!
//! **Owns** what an index stores of a record, its codec where it stands alone (`run` has that of
//! several), and reading by it.
//!
//! **Promises** that a record that is read by its place is the one that the place was made for, as
//! it was written: its parts have checksums, and the leaf that is made of them, with the seq and the
//! time that are in the place, has the checksum that is there too. Neither the leaf in the group,
//! which lies apart from the parts, nor the lengths there are read: what harms only those is found
//! by whoever reads the whole log.
//!
//! **Does not** protect the place itself: whoever stores it adds a checksum of its own, and so
//! knows whether it is the place that was damaged or the log.
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
//! A place stays good for ever: groups are never moved.

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

/// Length of an encoded place in bytes.
pub const LOCATION_BYTES: usize = 38;

/// Where a record lies.
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

/// What an index needs of a record: what names it, and where it lies.
#[derive(Clone, Debug)]
pub struct LocatedRecord {
    /// Its encoded leaf.
    pub leaf: [u8; LEAF_BYTES],
    /// Where it lies.
    pub location: Location,
    meta: Box<[u8]>,
}

/// Why no record was read.
#[derive(Debug, Error)]
pub enum LocationError {
    /// The log is not what was written there, or cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The log has no such place: it is not one of this log's.
    #[error("a place is not within the log")]
    OutsideLog,
}

impl Location {
    /// The place's bytes, as drawn in the module documentation.
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

    /// Reads a place back. All bytes are a place; whether anything lies there is another matter.
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

    /// Position of its record in the whole log.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// When its record was decided.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.time_ms)
    }

    /// The place of a record in the group at `spot`, with that meta.
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

    /// Bytes of the record's two parts, with a checksum and a salt each.
    #[must_use]
    pub fn parts_bytes(&self) -> u64 {
        2 * PART_BYTES as u64 + u64::from(self.meta_bytes) + u64::from(self.data_bytes)
    }
}

impl LocatedRecord {
    /// Of a record in the group at `spot` whose meta was found whole.
    pub fn new(entry: &GroupEntry<'_>, meta: &[u8], group: GroupOffset) -> Self {
        Self { leaf: *entry.leaf, location: Location::new(entry, meta, group), meta: meta.into() }
    }

    /// Position in the whole log.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.location.seq
    }

    /// When it was decided.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.location.time()
    }

    /// What names it.
    #[must_use]
    pub fn meta(&self) -> Meta<'_> {
        Meta::decode(&self.meta).expect("it was decoded when it was located")
    }
}

/// The records in locations, which are read together where they are neighbours that ascend.
pub fn records(shared: &LogState, locations: &[Location]) -> Result<Vec<Record>, LocationError> {
    let mut records = Vec::with_capacity(locations.len());
    // One file after the other: a history may touch more of them than are kept open.
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

/// A place in a file that is open.
struct OpenLocation<'a> {
    shared: &'a LogState,
    location: &'a Location,
    segment: usize,
    file: Arc<File>,
}

impl<'a> OpenLocation<'a> {
    /// With the segment's file, if that is open already.
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

    /// The record with these parts.
    fn record(&self, parts: &[u8]) -> Result<Record, JournalError> {
        let Location { seq, time_ms, meta_bytes, leaf_crc, .. } = *self.location;
        let (meta, data) = parts.split_at(PART_BYTES + usize::from(meta_bytes));
        let (meta_salt, meta) = self.part(seq, PartKind::Meta, meta)?;
        let (data_salt, data) = self.part(seq, PartKind::Data, data)?;
        let salts = Salts { meta: meta_salt, data: data_salt };
        let stored = RecordWithoutLeaf { seq, time_ms, salts, meta, data };
        if crc32c::crc32c(&stored.leaf().encode()) != leaf_crc {
            return Err(
                self.damage(format!("seq {seq} makes another leaf than it was stored with"))
            );
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

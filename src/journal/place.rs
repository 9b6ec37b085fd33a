//! Places: where one record lies in the log, so that it is read without searching its group.
//!
//! **Owns** what an index stores of a record, its one codec, and reading by it.
//!
//! **Promises** that a record that is read by its place is the one that the place was made for, as
//! it was written: the place holds a checksum of the leaf, the parts have theirs, and the leaf's
//! commitments are recomputed. The lengths in the group are not read: they are in the place.
//!
//! **Does not** protect the place itself: whoever stores it adds a checksum of its own, and so
//! knows whether it is the place that was damaged or the log.
//!
//! ```text
//! bytes  field, big-endian
//!     4  number of the segment, from 1
//!     8  offset of the meta part; the data part follows at once
//!     4  how far before that the leaf begins
//!     2  length of the meta
//!     4  length of the data
//!     4  CRC-32C of the leaf
//! ```
//!
//! A place stays good for ever: groups are never moved.

mod stretch;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use stretch::{READ_AT_ONCE_BYTES, Stretch};
use thiserror::Error;

use super::catalogue::Spot;
use super::error::{JournalError, io_error};
use super::frame::{self, Entry, Kind, PART_BYTES, Part};
use super::reader::Shared;
use crate::audit::{LEAF_BYTES, Leaf, Salt, Salts};
use crate::record::{Meta, Record, RecordError, Seq, StoredRecord, Timestamp};

/// Length of an encoded place in bytes.
pub const PLACE_BYTES: usize = 26;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    segment: u32,
    parts_at: u64,
    leaf_before: u32,
    meta_bytes: u16,
    data_bytes: u32,
    leaf_crc: u32,
}

/// What an index needs of a record: what names it, and where it lies.
#[derive(Clone, Debug)]
pub struct Located {
    /// Position in the whole log.
    pub seq: Seq,
    /// When it was decided.
    pub time: Timestamp,
    /// Its encoded leaf.
    pub leaf: [u8; LEAF_BYTES],
    /// Where it lies.
    pub place: Place,
    meta: Box<[u8]>,
}

/// Why no record was read.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// The log is not what was written there, or cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The log has no such place: it is not one of this log's.
    #[error("a place is not within the log")]
    Nowhere,
}

impl Place {
    /// The place's bytes, as drawn in the module documentation.
    #[must_use]
    pub fn encode(&self) -> [u8; PLACE_BYTES] {
        let mut bytes = [0; PLACE_BYTES];
        bytes[0..4].copy_from_slice(&self.segment.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.parts_at.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.leaf_before.to_be_bytes());
        bytes[16..18].copy_from_slice(&self.meta_bytes.to_be_bytes());
        bytes[18..22].copy_from_slice(&self.data_bytes.to_be_bytes());
        bytes[22..26].copy_from_slice(&self.leaf_crc.to_be_bytes());
        bytes
    }

    /// Reads a place back. All bytes are a place; whether anything lies there is another matter.
    #[must_use]
    pub fn decode(bytes: &[u8; PLACE_BYTES]) -> Self {
        Self {
            segment: u32::from_be_bytes(field(bytes, 0)),
            parts_at: u64::from_be_bytes(field(bytes, 4)),
            leaf_before: u32::from_be_bytes(field(bytes, 12)),
            meta_bytes: u16::from_be_bytes(field(bytes, 16)),
            data_bytes: u32::from_be_bytes(field(bytes, 18)),
            leaf_crc: u32::from_be_bytes(field(bytes, 22)),
        }
    }

    /// The place of a record in the group at `spot`, with that meta.
    fn of(entry: &Entry<'_>, meta: &[u8], spot: Spot) -> Self {
        let (leaf_before, parts_bytes) =
            (entry.parts_at - entry.leaf_at, entry.stored_bytes - frame::ENTRY_BYTES);
        let data_bytes = parts_bytes - 2 * PART_BYTES - meta.len();
        Self {
            segment: u32::try_from(spot.segment + 1).expect("a log has less than 2^32 segments"),
            parts_at: spot.offset + entry.parts_at as u64,
            leaf_before: u32::try_from(leaf_before).expect("a frame is at most 4 GiB"),
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

impl Located {
    /// Of a record in the group at `spot` whose meta was found whole.
    pub(super) fn new(entry: &Entry<'_>, meta: &[u8], spot: Spot) -> Self {
        Self {
            seq: entry.facts.seq,
            time: Timestamp::from_millis(entry.facts.time_ms),
            leaf: *entry.leaf,
            place: Place::of(entry, meta, spot),
            meta: meta.into(),
        }
    }

    /// What names it.
    #[must_use]
    pub fn meta(&self) -> Meta<'_> {
        Meta::decode(&self.meta).expect("it was decoded when it was located")
    }
}

/// The records in places, which are read together where they are neighbours that ascend.
pub(super) fn records(shared: &Shared, places: &[Place]) -> Result<Vec<Record>, PlaceError> {
    let mut records = Vec::with_capacity(places.len());
    // One file after the other: a history may touch more of them than are kept open.
    for places in places.chunk_by(|place, next| place.segment == next.segment) {
        let mut spots: Vec<Open<'_>> = Vec::with_capacity(places.len());
        for place in places {
            spots.push(Open::new(shared, place, spots.last().map(|spot| &spot.file))?);
        }
        let (mut heads, mut tails) = (Stretch::default(), Stretch::default());
        for (index, spot) in spots.iter().enumerate() {
            let ahead = &spots[index..];
            let head = heads.read(spot, ahead.iter().map(Open::head))?;
            let parts = match spot.is_together() {
                true => &head[spot.place.leaf_before as usize..],
                false => {
                    let apart = ahead.iter().filter(|spot| !spot.is_together());
                    tails.read(spot, apart.map(Open::parts))?
                }
            };
            records.push(spot.record(head, parts)?);
        }
    }
    Ok(records)
}

/// The leaf of the record in a place.
pub(super) fn leaf(shared: &Shared, place: &Place) -> Result<Leaf, PlaceError> {
    let spot = Open::new(shared, place, None)?;
    let leaf = spot.leaf_at..spot.leaf_at + LEAF_BYTES as u64;
    let mut stretch = Stretch::default();
    let bytes = stretch.read(&spot, std::iter::once(leaf))?;
    Ok(spot.leaf(bytes)?.1)
}

/// A place in a file that is open.
struct Open<'a> {
    shared: &'a Shared,
    place: &'a Place,
    segment: usize,
    leaf_at: u64,
    file: Arc<File>,
}

impl<'a> Open<'a> {
    /// With the segment's file, if that is open already.
    fn new(
        shared: &'a Shared,
        place: &'a Place,
        file: Option<&Arc<File>>,
    ) -> Result<Self, PlaceError> {
        let within = || {
            let segment = (place.segment as usize).checked_sub(1)?;
            let leaf_at = place.parts_at.checked_sub(u64::from(place.leaf_before))?;
            let end = place.parts_at.checked_add(place.parts_bytes())?;
            let apart = place.leaf_before as usize >= frame::ENTRY_BYTES;
            (apart && shared.holds(segment, end)).then_some((segment, leaf_at))
        };
        let (segment, leaf_at) = within().ok_or(PlaceError::Nowhere)?;
        let file = file.map_or_else(|| shared.file_kept(segment), |file| Ok(file.clone()));
        let file = file.map_err(|error| io_error("opening", shared.path(segment))(error))?;
        Ok(Self { shared, place, segment, leaf_at, file })
    }

    /// Whether leaf and parts are read at once.
    fn is_together(&self) -> bool {
        u64::from(self.place.leaf_before) <= READ_AT_ONCE_BYTES
    }

    /// Where the leaf lies, and the parts too if they are read with it.
    fn head(&self) -> Range<u64> {
        match self.is_together() {
            true => self.leaf_at..self.parts().end,
            false => self.leaf_at..self.leaf_at + LEAF_BYTES as u64,
        }
    }

    fn parts(&self) -> Range<u64> {
        self.place.parts_at..self.place.parts_at + self.place.parts_bytes()
    }

    /// The record with this leaf and these parts.
    fn record(&self, leaf: &[u8], parts: &[u8]) -> Result<Record, JournalError> {
        let (leaf, facts) = self.leaf(leaf)?;
        let (meta, data) = parts.split_at(PART_BYTES + usize::from(self.place.meta_bytes));
        let (meta_salt, meta) = self.part(facts.seq, Kind::Meta, meta)?;
        let (data_salt, data) = self.part(facts.seq, Kind::Data, data)?;
        let salts = Salts { meta: meta_salt, data: data_salt };
        let record = StoredRecord { leaf, salts, meta, data }.to_record();
        record.map_err(|error: RecordError| self.damage(format!("seq {}: {error}", facts.seq)))
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

    /// The leaf at the beginning of what was read.
    fn leaf<'b>(&self, bytes: &'b [u8]) -> Result<(&'b [u8; LEAF_BYTES], Leaf), JournalError> {
        let leaf = bytes.first_chunk().expect("a leaf was read");
        if crc32c::crc32c(leaf) != self.place.leaf_crc {
            return Err(self.damage("the checksum of a leaf differs".to_owned()));
        }
        let facts = Leaf::decode(leaf).map_err(|error| self.damage(error.to_string()))?;
        Ok((leaf, facts))
    }

    fn part<'b>(
        &self,
        seq: Seq,
        kind: Kind,
        bytes: &'b [u8],
    ) -> Result<(Salt, &'b [u8]), JournalError> {
        match frame::part(seq, kind, bytes) {
            Ok(Part::Whole { salt, bytes }) => Ok((salt, bytes)),
            Ok(Part::Erased) => Err(self.damage(format!("a part of seq {seq} is all zeros"))),
            Err(fault) => Err(self.damage(fault.to_string())),
        }
    }

    fn damage(&self, what: String) -> JournalError {
        JournalError::DamagedRecord {
            file: self.shared.path(self.segment),
            offset: self.leaf_at,
            what,
        }
    }
}

fn field<const N: usize>(bytes: &[u8; PLACE_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

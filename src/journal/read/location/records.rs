//! Reads records by location.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use thiserror::Error;

use crate::audit::{Salt, Salts};
use crate::journal::error::{JournalError, io_error};
use crate::journal::format::frame;
use crate::journal::format::frame::{PART_BYTES, PartKind};
use crate::journal::read::durable::LogState;
use crate::journal::read::location::codec::Location;
use crate::journal::read::location::span::Span;
use crate::journal::read::stored_record::salted_bytes;
use crate::record::{Record, RecordWithoutLeaf, Seq};

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

/// Reads the records at these locations. Ascending neighbours in a segment are read together.
pub fn read_records(
    shared: &LogState,
    locations: &[Location],
) -> Result<Vec<Record>, LocationError> {
    let mut records = Vec::with_capacity(locations.len());
    // One segment at a time: a history may use more files than the cache keeps open.
    for locations in locations.chunk_by(|location, next| location.segment == next.segment) {
        let mut open: Vec<OpenLocation<'_>> = Vec::with_capacity(locations.len());
        for location in locations {
            open.push(OpenLocation::new(shared, location, open.last().map(|open| &open.file))?);
        }
        let mut span = Span::default();
        for (index, current) in open.iter().enumerate() {
            let parts = open[index..].iter().map(OpenLocation::parts);
            let parts = span.read(parts, |at, bytes| current.read(at, bytes))?;
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
        let part = frame::part(seq, kind, bytes).map_err(|fault| self.damage(fault.to_string()))?;
        salted_bytes(seq, kind, part).map_err(|erased| self.damage(erased.to_string()))
    }

    fn damage(&self, what: String) -> JournalError {
        JournalError::DamagedRecord {
            file: self.shared.path(self.segment),
            offset: self.location.parts_at,
            what,
        }
    }
}

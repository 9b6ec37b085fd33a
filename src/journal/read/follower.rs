//! Follows the log from a position: first its history, then new records.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::audit::{Digest, commit};
use crate::journal::error::{JournalError, io_error};
use crate::journal::format::frame;
use crate::journal::format::frame::{GroupEntry, HEADER_BYTES};
use crate::journal::format::segment::FIRST_GROUP_AT;
use crate::journal::read::durable::LogState;
use crate::journal::read::index::GroupOffset;
use crate::journal::read::location::LocatedRecord;
use crate::journal::read::stored_record::{ErasedPart, stored_record};
use crate::record::{Meta, Record, Seq};

/// Minimum bytes to read at once, if the log has them: many groups are small.
const WINDOW_BYTES: u64 = 128 * 1024;

/// A position in the log that advances as records are read.
///
/// At the head it holds almost no memory, and all followers there share one open file.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<LogState>,
    position: Seq,
    /// The chain after the last group that was read to its end.
    chain: Digest,
    /// The next group; `None` before the first read and after a failed one.
    next: Option<NextGroup>,
}

#[derive(Debug)]
struct NextGroup {
    file: Arc<File>,
    /// Start of the group.
    start: GroupOffset,
    /// Its expected first seq; `None` after a lookup, which may find a group before the position.
    first_seq: Option<Seq>,
    window: ReadAhead,
}

/// Buffered bytes of a segment.
#[derive(Debug, Default)]
struct ReadAhead {
    bytes: Vec<u8>,
    /// Offset of the first byte in the file.
    at: u64,
}

impl Follower {
    pub fn new(shared: Arc<LogState>, after: Seq) -> Self {
        Self { shared, position: after, chain: Digest::default(), next: None }
    }

    /// Seq of the last record that was read, or the start position.
    #[must_use]
    pub fn position(&self) -> Seq {
        self.position
    }

    /// The next records, until their stored bytes reach `bytes_max`: at least one if there are
    /// more, none at the head. Every checksum is checked.
    ///
    /// # Errors
    /// [`JournalError`]: the file was damaged since the open, or cannot be read. Intact records
    /// before the damage are returned first; then the position stays there and every call fails.
    pub fn next(&mut self, bytes_max: usize) -> Result<Vec<Record>, JournalError> {
        self.read_records(bytes_max, &|entry, _| record(entry))
    }

    /// Like [`Follower::next`], but returns each record's meta and location, for an index. Only the
    /// leaf's commitment to the meta is recomputed, not the one to the data.
    ///
    /// # Errors
    /// Those of [`Follower::next`].
    pub fn next_located(&mut self, bytes_max: usize) -> Result<Vec<LocatedRecord>, JournalError> {
        self.read_records(bytes_max, &located)
    }

    /// The chain after the position, if that is the end of a group that was read.
    pub fn chain(&self) -> &Digest {
        &self.chain
    }

    fn read_records<T>(
        &mut self,
        bytes_max: usize,
        convert: EntryConverter<'_, T>,
    ) -> Result<Vec<T>, JournalError> {
        let durable = self.shared.durable();
        let mut batch = ReadBatch { records: Vec::new(), bytes: 0, bytes_max, convert };
        while self.position < durable && !batch.is_full() {
            match self.read_group(&mut batch) {
                Ok(()) => {}
                Err(error) if batch.records.is_empty() => return Err(error),
                // The records read so far must not be lost; the next call fails again.
                Err(_) => break,
            }
        }
        if self.position >= durable {
            self.release_buffer();
        }
        Ok(batch.records)
    }

    /// Reads records from the next group, and advances to the following one at its end.
    fn read_group<T>(&mut self, batch: &mut ReadBatch<'_, T>) -> Result<(), JournalError> {
        let shared = Arc::clone(&self.shared);
        let mut next = match self.next.take() {
            Some(next) => next,
            None => NextGroup::find(&shared, self.position + 1)
                .map_err(|(segment, error)| io_error("opening", shared.path(segment))(error))?,
        };
        let taken = self.take_records(&mut next, batch);
        let start = next.start;
        // After a failure the next call looks up and reads again: the buffered bytes may be stale.
        self.next = taken.is_ok().then_some(next);
        taken.map_err(|error| match error {
            FollowError::Damage(what) => JournalError::Damage {
                file: shared.path(start.segment),
                offset: start.offset,
                last_good_seq: self.position,
                what,
            },
            FollowError::Io(error) => io_error("reading", shared.path(start.segment))(error),
        })
    }

    fn take_records<T>(
        &mut self,
        next: &mut NextGroup,
        batch: &mut ReadBatch<'_, T>,
    ) -> Result<(), FollowError> {
        next.enter_next_segment(&self.shared)?;
        let (expected, start) = (next.first_seq, next.start);
        let bytes = next.read_frame(&self.shared)?;
        let group = frame::decode(self.shared.log(), bytes)?;
        if expected.is_some_and(|first_seq| first_seq != group.first_seq) {
            let what =
                format!("group {} with seq {} is out of order", group.number, group.first_seq);
            return Err(FollowError::Damage(what));
        }
        let (first_seq, last_seq) = (group.first_seq, group.last_seq());
        let frame_bytes = group.frame_bytes();
        if first_seq > self.position + 1 {
            return Err(FollowError::Damage(format!("seq {} is missing", self.position + 1)));
        }
        if last_seq > self.position {
            let skipped = usize::try_from(self.position + 1 - first_seq).unwrap_or(usize::MAX);
            for entry in group.entries_from(skipped) {
                if batch.is_full() {
                    return Ok(());
                }
                let entry = entry?;
                batch.records.push((batch.convert)(&entry, start)?);
                batch.bytes += entry.stored_bytes;
                self.position = entry.facts.seq;
            }
        }
        self.chain = group.chain_after;
        next.first_seq = Some(last_seq + 1);
        next.start.offset += frame_bytes;
        Ok(())
    }

    /// Frees the buffer. The file stays open: it is the writer's, or soon left behind.
    fn release_buffer(&mut self) {
        if let Some(next) = &mut self.next {
            next.window = ReadAhead::default();
        }
    }
}

/// The records of one call.
struct ReadBatch<'a, T> {
    records: Vec<T>,
    /// Their stored bytes.
    bytes: usize,
    bytes_max: usize,
    convert: EntryConverter<'a, T>,
}

/// Converts an entry of the group at an offset to the type that the caller wants.
type EntryConverter<'a, T> = &'a dyn Fn(&GroupEntry<'_>, GroupOffset) -> Result<T, FollowError>;

impl<T> ReadBatch<'_, T> {
    fn is_full(&self) -> bool {
        !self.records.is_empty() && self.bytes >= self.bytes_max
    }
}

/// Why records cannot be read.
enum FollowError {
    Damage(String),
    Io(io::Error),
}

impl From<ErasedPart> for FollowError {
    fn from(part: ErasedPart) -> Self {
        Self::Damage(part.to_string())
    }
}

impl From<frame::FrameError> for FollowError {
    fn from(fault: frame::FrameError) -> Self {
        Self::Damage(fault.to_string())
    }
}

impl From<io::Error> for FollowError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl NextGroup {
    /// A group at or before the record with this seq, which must be durable.
    fn find(shared: &LogState, seq: Seq) -> Result<Self, (usize, io::Error)> {
        let start =
            shared.locate(seq).expect("a durable record has an index entry at or before it");
        let file = shared.file(start.segment).map_err(|error| (start.segment, error))?;
        Ok(Self { file, start, first_seq: None, window: ReadAhead::default() })
    }

    /// Advances to the next segment at the end of this one.
    fn enter_next_segment(&mut self, shared: &LogState) -> Result<(), FollowError> {
        while let (end, true) = shared.extent(self.start.segment) {
            if self.start.offset < end {
                break;
            }
            let segment = self.start.segment + 1;
            self.file = shared.file(segment)?;
            self.start = GroupOffset { segment, offset: FIRST_GROUP_AT };
            self.window = ReadAhead::default();
        }
        Ok(())
    }

    /// The bytes of the group.
    fn read_frame(&mut self, shared: &LogState) -> Result<&[u8], FollowError> {
        let (end, _) = shared.extent(self.start.segment);
        let at = self.start.offset;
        let header = self.window.read(&self.file, at, HEADER_BYTES as u64, end)?;
        let header = header.first_chunk().expect("read returns the requested length");
        let frame_bytes = frame::frame_bytes(header)?;
        self.window.read(&self.file, at, frame_bytes, end)
    }
}

impl ReadAhead {
    /// `len` bytes at `offset`. Nothing at or behind `end` is read: the writer is still changing
    /// it, so buffered bytes of it would become stale.
    fn read(&mut self, file: &File, offset: u64, len: u64, end: u64) -> Result<&[u8], FollowError> {
        if len > end.saturating_sub(offset) {
            return Err(FollowError::Damage(
                "a group extends beyond the end of the log".to_owned(),
            ));
        }
        let buffered = self.at..self.at + self.bytes.len() as u64;
        if offset < buffered.start || offset + len > buffered.end {
            let wanted = len.max(WINDOW_BYTES).min(end - offset);
            // It fits: the length is within the file.
            self.bytes.resize(wanted as usize, 0);
            self.at = offset;
            if let Err(error) = file.read_exact_at(&mut self.bytes, offset) {
                self.bytes.clear();
                let short = error.kind() == io::ErrorKind::UnexpectedEof;
                return Err(if short {
                    FollowError::Damage("the file ends before the log does".to_owned())
                } else {
                    FollowError::Io(error)
                });
            }
        }
        let from = (offset - self.at) as usize;
        Ok(&self.bytes[from..from + len as usize])
    }
}

fn record(entry: &GroupEntry<'_>) -> Result<Record, FollowError> {
    stored_record(entry)?
        .to_record()
        .map_err(|error| FollowError::Damage(format!("seq {}: {error}", entry.facts.seq)))
}

fn located(entry: &GroupEntry<'_>, group: GroupOffset) -> Result<LocatedRecord, FollowError> {
    let (seq, stored) = (entry.facts.seq, stored_record(entry)?);
    if commit(&stored.salts.meta, stored.meta) != entry.facts.meta {
        let what = format!("seq {seq}: the meta does not match the leaf's commitment");
        return Err(FollowError::Damage(what));
    }
    Meta::decode(stored.meta)
        .map_err(|error| FollowError::Damage(format!("seq {seq}: {error}")))?;
    Ok(LocatedRecord::new(entry, stored.meta, group))
}

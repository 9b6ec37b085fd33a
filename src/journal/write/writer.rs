//! The journal's only writer. It owns the end of the log and appends groups there until a write or
//! sync fails.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use crate::journal::disk::{Disk, is_no_space};
use crate::journal::error::{AppendError, JournalError, io_error};
use crate::journal::format::frame::{GroupFrame, Predecessor};
use crate::journal::format::segment::{FIRST_GROUP_AT, SegmentHeader};
use crate::journal::format::watermark::{Watermark, WatermarkFile};
use crate::journal::format::{frame, segment, watermark};
use crate::journal::open::lock::Lease;
use crate::journal::open::log_end::LogEnd;
use crate::journal::read::durable::LogState;
use crate::journal::read::index::LogIndex;
use crate::journal::read::reader::Reader;
use crate::journal::write::preallocate::{PreallocatedSegment, Preallocation};
use crate::record::Record;

/// Default maximum size of a segment in bytes.
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Settings of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// Maximum size of a segment file in bytes; only a group larger than this gets a larger file.
    pub segment_bytes_max: u64,
}

/// The open log. There is one at a time, and it keeps the data directory locked.
#[derive(Debug)]
pub struct Journal {
    /// Public so that tests can inject faults.
    pub disk: Disk,
    dir: PathBuf,
    log: Uuid,
    options: JournalOptions,
    current: CurrentSegment,
    end: LogEnd,
    shared: Arc<LogState>,
    watermark_file: WatermarkFile,
    /// The first failure; nothing is written after it.
    failed: Option<(io::ErrorKind, String)>,
    preallocation: Preallocation,
    /// Last, so that the directory stays locked until the thread of `preallocation` has ended.
    _lease: Lease,
}

/// The segment to which groups are appended.
#[derive(Debug)]
pub struct CurrentSegment {
    /// Shared with readers.
    pub file: Arc<File>,
    /// Number of the segment, from 1.
    pub number: u64,
    /// Size of the file in bytes.
    pub file_bytes: u64,
    /// Offset at which the next group is written.
    pub end: u64,
}

/// The state of a log after recovery, from which the writer continues.
pub struct WriterStart {
    pub disk: Disk,
    pub journal: PathBuf,
    pub log: Uuid,
    pub options: JournalOptions,
    pub current: CurrentSegment,
    pub end: LogEnd,
    pub index: LogIndex,
    pub watermark_file: WatermarkFile,
    pub lease: Lease,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { segment_bytes_max: SEGMENT_BYTES_MAX }
    }
}

impl Journal {
    /// Continues a log after recovery.
    pub fn start(start: WriterStart) -> Self {
        let WriterStart {
            disk,
            journal,
            log,
            options,
            current,
            end,
            mut index,
            watermark_file,
            lease,
        } = start;
        index.share(index.segments() - 1, &current.file);
        let shared = Arc::new(LogState::new(journal.clone(), log, end.seq, index));
        let mut journal = Self {
            preallocation: Preallocation::new(journal.clone(), disk.clone()),
            disk,
            dir: journal,
            log,
            options,
            current,
            end,
            shared,
            watermark_file,
            failed: None,
            _lease: lease,
        };
        journal.write_watermark();
        journal
    }

    /// Appends one group with one write and one sync.
    ///
    /// # Errors
    /// [`AppendError::NoSpace`]: nothing was stored, and the append may be retried.
    /// [`AppendError::Final`]: the group may have been stored; every later append fails.
    ///
    /// # Panics
    /// If the records do not continue the log: there are none, a seq is skipped, or a time is
    /// before the last one. The next open would reject such a group as damage.
    pub fn append(&mut self, records: &[Arc<Record>]) -> Result<(), AppendError> {
        if let Some((kind, what)) = &self.failed {
            let what = format!("an earlier write or sync failed: {what}");
            return Err(AppendError::Final(io::Error::new(*kind, what)));
        }
        let mut end = self.end_after(records);
        let predecessor = Predecessor { log: self.log, group: end.group, chain_before: end.chain };
        let GroupFrame { bytes, chain_after } = frame::encode(&predecessor, records);
        end.chain = chain_after;
        let frame_bytes = bytes.len() as u64;
        if self.current.end + frame_bytes > self.current.file_bytes {
            self.enter_next_segment(frame_bytes)?;
        }
        let CurrentSegment { file, end: offset, .. } = &self.current;
        let stored = self.disk.write(file, &bytes, *offset).and_then(|()| self.disk.sync(file));
        stored.map_err(|error| self.fail(error))?;
        // The group is durable from here on.
        let first_seq = self.end.seq + 1;
        self.end = end;
        self.current.end += frame_bytes;
        self.shared.advance(first_seq, end.seq, frame_bytes);
        self.write_watermark();
        if self.current.end > self.current.file_bytes / 2 {
            self.preallocation.begin(self.next_segment_bytes(0));
        }
        Ok(())
    }

    /// Seq of the last record, 0 in an empty log.
    #[must_use]
    #[cfg(test)]
    pub fn head(&self) -> crate::record::Seq {
        self.end.seq
    }

    /// Whether a group that its queue weighs as `bytes` is certain to fit the current segment. If
    /// not, the append may have to create one, which takes as long as writing a file of its size.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        let left = self.current.file_bytes.saturating_sub(self.current.end);
        // Leaf, salts, lengths and names take at most twice what a queue adds for them.
        left / 2 >= bytes as u64
    }

    /// A reader of the durable log.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// Writes and syncs the watermark, and unlocks the directory.
    ///
    /// # Errors
    /// [`JournalError::Io`] if the watermark could not be written; the log is intact nevertheless.
    pub fn close(mut self) -> Result<(), JournalError> {
        let watermark = self.watermark();
        let file = &mut self.watermark_file;
        let written = file.write(&self.disk, &watermark).and_then(|()| file.sync(&self.disk));
        written.map_err(io_error("writing", self.dir.join(watermark::NAME)))
    }

    /// The end of the log after `records`, except for its chain.
    fn end_after(&self, records: &[Arc<Record>]) -> LogEnd {
        assert!(!records.is_empty(), "a group has a record");
        let mut end = LogEnd { group: self.end.group + 1, ..self.end };
        for record in records {
            assert_eq!(record.seq(), end.seq + 1, "records continue the log without gaps");
            let time_ms = record.time().millis();
            assert!(time_ms >= end.time_ms, "times never decrease");
            (end.seq, end.time_ms) = (record.seq(), time_ms);
        }
        end
    }

    /// Begins a new segment with room for a group. If this fails before the segment has its name,
    /// nothing has changed. The new segment replaces one that is still empty, because both would
    /// have the same name.
    fn enter_next_segment(&mut self, group_bytes: u64) -> Result<(), AppendError> {
        let preallocated = self.preallocation.take(FIRST_GROUP_AT + group_bytes);
        let preallocated = preallocated.map_or_else(
            || {
                let file_bytes = self.next_segment_bytes(group_bytes);
                PreallocatedSegment::create_on_demand(&self.disk, &self.dir, file_bytes)
            },
            Ok,
        );
        let first_seq = self.end.seq + 1;
        let replaces_empty = self.current.end == FIRST_GROUP_AT;
        let number = if replaces_empty { self.current.number } else { self.current.number + 1 };
        let named = preallocated.and_then(|preallocated| {
            let file_bytes = preallocated.bytes();
            let header = SegmentHeader {
                log: self.log,
                number,
                first_seq,
                first_group: self.end.group + 1,
                file_bytes,
                chain_before: self.end.chain,
            };
            Ok((preallocated.into_segment(&self.dir, &header)?, file_bytes))
        });
        let (file, file_bytes) = named.map_err(|error| {
            if is_no_space(&error) { AppendError::NoSpace(error) } else { self.fail(error) }
        })?;
        self.disk.sync_dir(&self.dir).map_err(|error| self.fail(error))?;
        self.current =
            CurrentSegment { file: file.into(), number, file_bytes, end: FIRST_GROUP_AT };
        if replaces_empty {
            self.shared.replace(&self.current.file);
        } else {
            self.shared.enter(first_seq, &self.current.file);
        }
        Ok(())
    }

    fn next_segment_bytes(&self, group_bytes: u64) -> u64 {
        let bytes_max = self.options.segment_bytes_max.next_multiple_of(8);
        segment::next_bytes(self.current.file_bytes, group_bytes, bytes_max)
    }

    /// Ends all writing: the system may have dropped pages that it could not write, and then a
    /// second sync would succeed without them.
    fn fail(&mut self, error: io::Error) -> AppendError {
        tracing::error!(%error, head = self.end.seq, "the journal stops: a write or sync failed");
        self.failed = Some((error.kind(), error.to_string()));
        AppendError::Final(error)
    }

    fn watermark(&self) -> Watermark {
        let LogEnd { group, seq, chain, .. } = self.end;
        Watermark { group, seq, chain, segment: self.current.number, offset: self.current.end }
    }

    /// Not synced, so it costs a microsecond a group. It survives the end of the process; after a
    /// power cut an open merely has less evidence of durability.
    fn write_watermark(&mut self) {
        let watermark = self.watermark();
        if let Err(error) = self.watermark_file.write(&self.disk, &watermark) {
            tracing::warn!(%error, "the journal's watermark could not be written");
        }
    }
}

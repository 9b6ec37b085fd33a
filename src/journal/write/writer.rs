//! The journal's only writer. It owns the end of the log and appends groups there until a write or
//! sync fails.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use crate::audit::Digest;
use crate::journal::disk::Disk;
use crate::journal::error::{AppendError, JournalError, io_error};
use crate::journal::format::frame::{GroupFrame, Predecessor};
use crate::journal::format::segment::{FIRST_GROUP_AT, SegmentHeader};
use crate::journal::format::watermark::{Watermark, WatermarkFile};
use crate::journal::format::{frame, segment, watermark};
use crate::journal::open::directory::DataDir;
use crate::journal::open::lock::Lease;
use crate::journal::open::scan::{LogEnd, RecordVisitor};
use crate::journal::open::snapshot::Snapshot;
use crate::journal::open::{recovery, snapshot};
use crate::journal::read::index::LogIndex;
use crate::journal::read::reader::{LogState, Reader};
use crate::journal::write::preallocate::{PreallocatedSegment, Preallocation};
use crate::journal::{JournalOptions, OpenContext, OpenedJournal, disk};
use crate::record::{Record, RecordError, Seq, StoredRecord};

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

impl Journal {
    /// Reads the whole log, repairs what a crash may have left, and opens it for appending.
    ///
    /// A log that ends before `durable_seq_min` is damaged. `visit` sees every record in order,
    /// with the chain after it; its error ends the open. If the log turns out to be damaged,
    /// `visit` has already seen the records before the damage.
    ///
    /// # Errors
    /// [`JournalError`]: damage or an error of `visit`, after which nothing was changed, or an
    /// error of the system.
    pub fn open(
        dir: &DataDir,
        options: JournalOptions,
        durable_seq_min: Seq,
        visit: &mut dyn FnMut(&StoredRecord<'_>, &Digest) -> Result<(), RecordError>,
    ) -> Result<OpenedJournal, JournalError> {
        let context =
            OpenContext { durable_seq_min, confirm_durable: None, snapshot: None, read_from: 0 };
        Self::open_with(dir, options, &context, visit)
    }

    /// As [`Journal::open`], but with a snapshot only part of the log is read: `visit` sees the
    /// records from the segment that holds the snapshot's head, or [`OpenContext::read_from`] if
    /// that is earlier. The caller has visited the snapshot's own records.
    ///
    /// # Errors
    /// As [`Journal::open`]. A log that ends before the snapshot's head is damaged.
    pub fn open_with(
        dir: &DataDir,
        options: JournalOptions,
        context: &OpenContext<'_>,
        visit: &mut dyn FnMut(&StoredRecord<'_>, &Digest) -> Result<(), RecordError>,
    ) -> Result<OpenedJournal, JournalError> {
        let visit: &mut RecordVisitor<'_> = visit;
        recovery::open(dir, options, context, visit)
    }

    /// Reads the last snapshot of a log. One that cannot be used is logged and ignored.
    #[must_use]
    pub fn snapshot(dir: &DataDir) -> Option<Snapshot> {
        let path = snapshot::path(&dir.journal());
        Snapshot::read(&dir.journal(), dir.log_id()).unwrap_or_else(|reason| {
            let file = path.display();
            tracing::warn!(%file, reason, "the snapshot cannot be used; reading the whole log");
            None
        })
    }

    /// Removes the snapshot of a log, so that the next open reads the whole log.
    ///
    /// # Errors
    /// If the file cannot be removed or the directory cannot be synced.
    pub fn remove_snapshot(dir: &DataDir) -> io::Result<()> {
        let journal = dir.journal();
        let disk = Disk::default();
        match disk.remove(&snapshot::path(&journal)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        disk.sync_dir(&journal)
    }

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
    pub fn head(&self) -> Seq {
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
        let preallocated = match self.preallocation.take(FIRST_GROUP_AT + group_bytes) {
            Some(preallocated) => Ok(preallocated),
            None => {
                let file_bytes = self.next_segment_bytes(group_bytes);
                PreallocatedSegment::create_on_demand(&self.disk, &self.dir, file_bytes)
            }
        };
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
            if disk::is_no_space(&error) { AppendError::NoSpace(error) } else { self.fail(error) }
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

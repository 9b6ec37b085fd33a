//! The journal's one writer.
//!
//! Owns the end of the log: what comes next, where it goes, and whether anything may still be
//! written.

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

/// The open log. One at a time; it keeps the data directory locked.
#[derive(Debug)]
pub struct Journal {
    /// Open to tests, which make it fail.
    pub disk: Disk,
    dir: PathBuf,
    log: Uuid,
    options: JournalOptions,
    current: CurrentSegment,
    end: LogEnd,
    shared: Arc<LogState>,
    watermark_file: WatermarkFile,
    /// What failed; nothing is written after it.
    failed: Option<(io::ErrorKind, String)>,
    preallocation: Preallocation,
    /// Last, so that the directory stays locked until the thread of `ahead` has ended.
    _lease: Lease,
}

/// The segment that is being written.
#[derive(Debug)]
pub struct CurrentSegment {
    /// Shared with readers.
    pub file: Arc<File>,
    /// Its place among the segments, from 1.
    pub number: u64,
    /// Size of the file.
    pub file_bytes: u64,
    /// Where the next group goes.
    pub end: u64,
}

/// What recovery hands over.
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
    /// Reads the whole log, repairs what a crash may have left, and goes on from there.
    ///
    /// `proven` is the highest seq that somebody else knows to have been durable. `visit` sees
    /// every record in order, with the chain after it; its error refuses the start. It sees
    /// records of a log that is then found to be damaged, too, before the error is returned.
    ///
    /// # Errors
    /// [`JournalError`]: damage, a refusal of `visit`, or of the system. Nothing was changed in
    /// the first two cases.
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

    /// As [`Journal::open`], but what a checkpoint stands for is not read now: the visitor has seen
    /// its records, and sees what is in the segment of the checkpoint's head, in that of
    /// [`OpenContext::read_from`], and after.
    ///
    /// # Errors
    /// As [`Journal::open`]; a log that ends before the checkpoint's head is damage.
    pub fn open_with(
        dir: &DataDir,
        options: JournalOptions,
        context: &OpenContext<'_>,
        visit: &mut dyn FnMut(&StoredRecord<'_>, &Digest) -> Result<(), RecordError>,
    ) -> Result<OpenedJournal, JournalError> {
        let visit: &mut RecordVisitor<'_> = visit;
        recovery::open(dir, options, context, visit)
    }

    /// The last checkpoint of a log. One that is of no use is warned about, and there is none then.
    #[must_use]
    pub fn snapshot(dir: &DataDir) -> Option<Snapshot> {
        let path = snapshot::path(&dir.journal());
        Snapshot::read(&dir.journal(), dir.log_id()).unwrap_or_else(|reason| {
            let file = path.display();
            tracing::warn!(%file, reason, "the checkpoint is of no use; the whole log is read");
            None
        })
    }

    /// Removes the checkpoint of a log, so that the next open reads all of it.
    ///
    /// # Errors
    /// Those of the system.
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

    /// Appends one group: encoded, written with one write and synced with one sync before this
    /// returns.
    ///
    /// # Errors
    /// [`AppendError::NoSpace`]: nothing was stored, and it may be tried again.
    /// [`AppendError::Final`]: the group may have been stored; this journal appends nothing more.
    ///
    /// # Panics
    /// When the records do not continue the log: none at all, a gap in seq, or a time before the
    /// last one. Stored, such a group would be refused by the next open.
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
        // Durable from here on.
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

    /// Whether a group whose data and names take so many bytes surely fits the segment that is
    /// written: another one takes as long as making a file of its size may.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        let left = self.current.file_bytes.saturating_sub(self.current.end);
        // Leaf, salts, lengths and names are less than what the data is weighed with.
        left / 2 >= bytes as u64
    }

    /// A reader of what is durable.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// Writes the high-water mark durably and frees the directory.
    ///
    /// # Errors
    /// [`JournalError::Io`] when the mark could not be written; the log is whole all the same.
    pub fn close(mut self) -> Result<(), JournalError> {
        let watermark = self.watermark();
        let file = &mut self.watermark_file;
        let written = file.write(&self.disk, &watermark).and_then(|()| file.sync(&self.disk));
        written.map_err(io_error("writing", self.dir.join(watermark::NAME)))
    }

    /// Where the log will end with `records`, but for the chain.
    fn end_after(&self, records: &[Arc<Record>]) -> LogEnd {
        assert!(!records.is_empty(), "a group has a record");
        let mut end = LogEnd { group: self.end.group + 1, ..self.end };
        for record in records {
            assert_eq!(record.seq(), end.seq + 1, "records continue the log without gaps");
            let time_ms = record.time().millis();
            assert!(time_ms >= end.time_ms, "times never fall");
            (end.seq, end.time_ms) = (record.seq(), time_ms);
        }
        end
    }

    /// Goes on in a new segment that has room for a group. A failure up to its naming leaves
    /// everything as it was.
    ///
    /// A segment that is still empty would have the new one's name: the new one takes its place.
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

    /// After this nothing is written: the system may have dropped what it could not write, and
    /// would let a second sync succeed.
    fn fail(&mut self, error: io::Error) -> AppendError {
        tracing::error!(%error, head = self.end.seq, "the journal stops: a write or sync failed");
        self.failed = Some((error.kind(), error.to_string()));
        AppendError::Final(error)
    }

    fn watermark(&self) -> Watermark {
        let LogEnd { group, seq, chain, .. } = self.end;
        Watermark { group, seq, chain, segment: self.current.number, offset: self.current.end }
    }

    /// Not synced: it costs a microsecond a group, survives the end of the process, and one that a
    /// power cut takes only lets an open prove less.
    fn write_watermark(&mut self) {
        let watermark = self.watermark();
        if let Err(error) = self.watermark_file.write(&self.disk, &watermark) {
            tracing::warn!(%error, "the journal's high-water mark could not be written");
        }
    }
}

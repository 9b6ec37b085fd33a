//! Reads a log without opening it, also while a process writes it. Nothing is changed.
//!
//! Every group that is passed on is intact and continues the log, by the rules of an open. While a
//! process writes the log,
//! - every group acknowledged before [`Survey::read`] was called is passed on;
//! - a group that is just being written is not taken for damage;
//! - every group that is passed on is on stable storage, so a copy never holds records that its
//!   source may still lose.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use crate::audit::Digest;
use crate::journal::error::{DirError, JournalError, io_error};
use crate::journal::format::watermark;
use crate::journal::format::watermark::{WatermarkContents, WatermarkFile};
use crate::journal::open::dir_error::dir_error;
use crate::journal::open::directory::{JOURNAL, LOCK, read_log_id};
use crate::journal::open::files::list_files;
use crate::journal::open::lock::ReadLock;
use crate::journal::open::log_end::DurabilityEvidence;
use crate::journal::open::scan::{LogScan, ScanStart, SegmentFile};
use crate::journal::open::snapshot;
use crate::journal::open::snapshot::Snapshot;
use crate::journal::read::durable::LogState;
use crate::journal::read::reader::Reader;
use crate::record::{Record, RecordError, Seq, StoredRecord};

/// Maximum reads of the watermark while it appears damaged because it is being written.
const WATERMARK_READS_MAX: u32 = 100;

/// A data directory to be read, and whether a process may be writing it.
#[derive(Debug)]
pub struct Survey {
    path: PathBuf,
    log: Uuid,
    used_by: Option<DirectoryUser>,
    /// `None` if a process may be writing the log.
    lock: Option<ReadLock>,
    /// A range of bytes that the next read of a segment does not see yet.
    #[cfg(test)]
    pub hidden_bytes: std::cell::Cell<Option<(usize, usize)>>,
}

/// A process that uses a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryUser {
    /// Its process id, if the lock file holds it.
    pub pid: Option<u32>,
}

/// An intact group that continues the log.
#[derive(Debug)]
pub struct VerifiedGroup<'a> {
    /// Its records, in order.
    pub records: &'a [Arc<Record>],
    /// The chain after each of them.
    pub chains: &'a [Digest],
    /// The segment.
    pub file: &'a Path,
    /// Offset of the group in the segment's file.
    pub offset: u64,
    /// Length of the group.
    pub bytes: u64,
}

/// The result of reading the whole log.
#[derive(Debug)]
pub struct SurveyReport {
    /// Number of groups.
    pub groups: u64,
    /// Seq of the last record, which is also the number of records.
    pub head: Seq,
    /// Chain after the last record; zeros in an empty log.
    pub chain: Digest,
    /// A broken last group that no process is writing and that, as far as anything shows, was never
    /// acknowledged.
    pub tail: Option<UnfinishedTail>,
    /// The watermark.
    pub watermark: WatermarkState,
    /// Reads the surveyed log.
    pub reader: Reader,
}

/// A broken group behind the last intact one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedTail {
    /// The segment.
    pub file: PathBuf,
    /// Offset in the segment's file.
    pub offset: u64,
    /// Length without the zeros after it.
    pub bytes: u64,
}

/// The content of the watermark file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkState {
    /// Seq of the last record that it states as durable; `None` if both slots are unreadable.
    pub seq: Option<Seq>,
    /// Whether a slot is damaged.
    pub damaged: bool,
}

impl Survey {
    /// A survey that keeps other processes from using the directory until it is dropped.
    ///
    /// # Errors
    /// [`DirError`]: there is no log, it is in use, or it cannot be read.
    pub fn locked(path: &Path) -> Result<Self, DirError> {
        let survey = Self::find(path)?;
        let lock = ReadLock::acquire(&survey.path, &survey.path.join(LOCK))?;
        Ok(Self { lock: Some(lock), ..survey })
    }

    /// A survey of a directory that a process may be using.
    ///
    /// # Errors
    /// [`DirError`]: there is no log, or it cannot be read.
    pub fn concurrent(path: &Path) -> Result<Self, DirError> {
        let survey = Self::find(path)?;
        match ReadLock::acquire(&survey.path, &survey.path.join(LOCK)) {
            Ok(_) => Ok(survey),
            Err(DirError::Locked { pid, .. }) => {
                Ok(Self { used_by: Some(DirectoryUser { pid }), ..survey })
            }
            Err(error) => Err(error),
        }
    }

    fn find(path: &Path) -> Result<Self, DirError> {
        let path = std::path::absolute(path).map_err(dir_error("finding it", path))?;
        match read_log_id(&path)? {
            Some(log) => Ok(Self {
                path,
                log,
                used_by: None,
                lock: None,
                #[cfg(test)]
                hidden_bytes: std::cell::Cell::new(None),
            }),
            None => Err(DirError::NoLog { path }),
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log's id.
    #[must_use]
    pub fn log_id(&self) -> Uuid {
        self.log
    }

    /// The process that used the directory when the survey began. Another one may use it later.
    #[must_use]
    pub fn used_by(&self) -> Option<DirectoryUser> {
        self.used_by
    }

    /// Reads the log from its beginning, passes each group to `visit` and checks the end of the
    /// log.
    ///
    /// # Errors
    /// [`JournalError`] as from [`Journal::open`](crate::journal::Journal::open), and those of
    /// `visit`.
    pub fn read<E: From<JournalError>>(
        &self,
        mut visit: impl FnMut(VerifiedGroup<'_>) -> Result<(), E>,
    ) -> Result<SurveyReport, E> {
        let journal = self.path.join(JOURNAL);
        // First the watermark is read, then the segments are listed, then they are read: every
        // group that the watermark states is found.
        let watermark = self.read_watermark()?;
        let segments = list_segments(&journal)?;
        let scanned = RefCell::new((Vec::new(), Vec::new()));
        let mut collect = |stored: &StoredRecord<'_>, chain: &Digest| -> Result<(), RecordError> {
            let (records, chains) = &mut *scanned.borrow_mut();
            records.push(Arc::new(stored.to_record()?));
            chains.push(*chain);
            Ok(())
        };
        let evidence =
            DurabilityEvidence { watermark: watermark.watermark, ..DurabilityEvidence::default() };
        let mut scan = LogScan::new(self.log, evidence, ScanStart::default(), &mut collect);
        if segments.is_empty() {
            return Err(scan.damage(&journal, 0, "there is no segment".to_owned()).into());
        }
        let mut bytes = Vec::new();
        for (i, (first_seq, path)) in segments.iter().enumerate() {
            let is_last = i + 1 == segments.len();
            let file = SegmentFile { path, first_seq: *first_seq, is_last };
            self.read_segment(&file, &mut bytes)?;
            scan.begin_segment(&file, &bytes)?;
            while let Some(at) = scan.next_group_offset(&bytes) {
                let group_bytes = self.scan_group(&mut scan, &file, &mut bytes, at)?;
                let Some(group_bytes) = group_bytes else { break };
                let (records, chains) = &mut *scanned.borrow_mut();
                let offset = at as u64;
                visit(VerifiedGroup { records, chains, file: path, offset, bytes: group_bytes })?;
                records.clear();
                chains.clear();
            }
        }
        scan.finish()?;
        Ok(self.report(journal, &watermark, scan))
    }

    /// Reads and checks the whole snapshot; `None` if there is none.
    ///
    /// # Errors
    /// The reason why it is unusable: an open ignores it.
    pub fn snapshot(&self) -> Result<Option<Snapshot>, String> {
        Snapshot::read(&self.path.join(JOURNAL), self.log)
    }

    /// Path of the snapshot, if there is one.
    #[must_use]
    pub fn snapshot_path(&self) -> PathBuf {
        snapshot::path(&self.path.join(JOURNAL))
    }

    /// Scans the group at `at` and returns its length; `None` if no intact group follows.
    fn scan_group(
        &self,
        scan: &mut LogScan<'_>,
        file: &SegmentFile<'_>,
        bytes: &mut Vec<u8>,
        at: usize,
    ) -> Result<Option<u64>, JournalError> {
        match scan.scan_group(file, bytes, at) {
            // A writer may have written this group and a later one while the file was read, so that
            // only the later one was seen. This one was written first, so it is there now.
            Err(JournalError::Damage { .. }) => {
                self.read_segment(file, bytes)?;
                match scan.next_group_offset(bytes) {
                    Some(at) => scan.scan_group(file, bytes, at),
                    None => Ok(None),
                }
            }
            scanned => scanned,
        }
    }

    /// Reads a segment. The last one is synced as well: a writer may have written more than it has
    /// synced.
    fn read_segment(
        &self,
        file: &SegmentFile<'_>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), JournalError> {
        bytes.clear();
        let path = file.path;
        let mut opened = File::open(path).map_err(io_error("opening", path))?;
        opened.read_to_end(bytes).map_err(io_error("reading", path))?;
        if file.is_last && self.lock.is_none() {
            opened.sync_data().map_err(io_error("syncing", path))?;
        }
        #[cfg(test)]
        if let Some((from, to)) = self.hidden_bytes.take() {
            bytes[from..to].fill(0);
        }
        Ok(())
    }

    fn report(
        &self,
        journal: PathBuf,
        watermark: &WatermarkContents,
        scan: LogScan<'_>,
    ) -> SurveyReport {
        let LogScan { end, index, segment, torn, .. } = scan;
        // While a process writes the log, this is the group that it is writing.
        let torn = torn.filter(|_| self.used_by.is_none());
        SurveyReport {
            groups: end.group,
            head: end.seq,
            chain: end.chain,
            tail: torn.map(|torn| UnfinishedTail {
                file: segment.path,
                offset: torn.offset,
                bytes: torn.bytes,
            }),
            watermark: WatermarkState {
                seq: watermark.watermark.map(|watermark| watermark.seq),
                damaged: watermark.damaged,
            },
            reader: Reader::new(Arc::new(LogState::new(journal, self.log, end.seq, index))),
        }
    }

    /// Reads the watermark; the writer may be writing a slot meanwhile.
    fn read_watermark(&self) -> Result<WatermarkContents, JournalError> {
        let path = self.path.join(JOURNAL).join(watermark::NAME);
        let mut found = WatermarkContents::default();
        for _ in 0..WATERMARK_READS_MAX {
            found = WatermarkFile::read(&path, self.log).map_err(io_error("reading", &path))?;
            if !found.damaged || self.lock.is_some() {
                break;
            }
        }
        Ok(found)
    }
}

/// The segments that existed when this was called, with none missing.
fn list_segments(journal: &Path) -> Result<Vec<(Seq, PathBuf)>, JournalError> {
    // Listing a directory that grows meanwhile may return a later segment and miss an earlier one.
    let last = list_files(journal)?.segments.last().map(|(first_seq, _)| *first_seq);
    let mut segments = list_files(journal)?.segments;
    segments.retain(|(first_seq, _)| Some(*first_seq) <= last);
    Ok(segments)
}

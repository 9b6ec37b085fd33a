//! Reads a log without opening it, also while a process writes it. Nothing is changed.
//!
//! Every group that is passed on is intact and continues the log, by the rules of an open. While a
//! process writes the log,
//! - every group acknowledged before [`Survey::read`] was called is passed on;
//! - a group that is just being written is not taken for damage;
//! - every group that is passed on is on stable storage, so a copy never holds records that its
//!   source may still lose.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use crate::audit::Digest;
use crate::journal::error::{DirError, JournalError, io_error};
use crate::journal::format::watermark::{WatermarkContents, WatermarkFile};
use crate::journal::format::{frame, watermark};
use crate::journal::offline::inventory;
use crate::journal::open::directory::{JOURNAL, LOCK, dir_error, read_log_id};
use crate::journal::open::lock::ReadLock;
use crate::journal::open::scan::{DurabilityEvidence, LogEnd, LogScan, ScanStart};
use crate::journal::open::snapshot::Snapshot;
use crate::journal::open::{recovery, snapshot};
use crate::journal::read::reader::{LogState, Reader};
use crate::record::{Meta, Record, RecordError, Seq, StoredRecord};

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

/// The first record affected by damage, as far as the damaged bytes identify it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstBadRecord {
    /// Its seq.
    pub seq: Seq,
    /// Its event, version and audience, if its meta is intact.
    pub names: Option<(String, u64, Option<String>)>,
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

    /// Total bytes of the log's files: an upper limit of the bytes to be read.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        inventory::log_bytes(self)
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
        let taken = RefCell::new((Vec::new(), Vec::new()));
        let mut collect = |stored: &StoredRecord<'_>, chain: &Digest| -> Result<(), RecordError> {
            let (records, chains) = &mut *taken.borrow_mut();
            records.push(Arc::new(stored.to_record()?));
            chains.push(*chain);
            Ok(())
        };
        let evidence = DurabilityEvidence {
            watermark: watermark.watermark,
            durable_seq_min: 0,
            confirm_durable: None,
        };
        let mut scan = LogScan::new(self.log, evidence, ScanStart::default(), &mut collect);
        if segments.is_empty() {
            return Err(scan.damage(&journal, 0, "there is no segment".to_owned()).into());
        }
        let mut bytes = Vec::new();
        for (i, (first_seq, path)) in segments.iter().enumerate() {
            let followed = i + 1 < segments.len();
            self.read_segment(path, &mut bytes, followed)?;
            scan.begin_segment(path, *first_seq, &bytes)?;
            let mut reread_at = None;
            while let Some(at) = scan.next_group_offset(&bytes) {
                let offset = at as u64;
                let group_bytes = match scan.scan_group(&bytes, at, followed) {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => break,
                    // A writer may have written this group and a later one while the file was
                    // read, so that only the later one was seen. This one was written first, so it
                    // is there now.
                    Err(JournalError::Damage { .. }) if reread_at != Some(at) => {
                        self.read_segment(path, &mut bytes, followed)?;
                        reread_at = Some(at);
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                let (records, chains) = &mut *taken.borrow_mut();
                visit(VerifiedGroup { records, chains, file: path, offset, bytes: group_bytes })?;
                records.clear();
                chains.clear();
            }
        }
        scan.finish()?;
        let LogEnd { group, seq, chain, .. } = scan.end;
        // While a process writes the log, this is the group that it is writing.
        let tail = scan.torn.filter(|_| self.used_by.is_none()).map(|torn| UnfinishedTail {
            file: scan.segment.path.clone(),
            offset: torn.offset,
            bytes: torn.bytes,
        });
        let index = scan.index;
        Ok(SurveyReport {
            groups: group,
            head: seq,
            chain,
            tail,
            watermark: WatermarkState {
                seq: watermark.watermark.map(|mark| mark.seq),
                damaged: watermark.damaged,
            },
            reader: Reader::new(Arc::new(LogState::new(journal, self.log, seq, index))),
        })
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

    /// The first record affected by the damage that `error` reports, read from the damaged group.
    #[must_use]
    pub fn first_bad_record(&self, error: &JournalError) -> Option<FirstBadRecord> {
        let (file, offset, first) = match error {
            JournalError::Damage { file, offset, last_good_seq, .. } => {
                (file, *offset, last_good_seq + 1)
            }
            JournalError::Record { file, offset, seq, .. } => (file, *offset, *seq),
            JournalError::DamagedRecord { .. }
            | JournalError::InUse { .. }
            | JournalError::Io { .. } => return None,
        };
        let bytes = fs::read(file).unwrap_or_default();
        let group = bytes.get(usize::try_from(offset).ok()?..);
        let group = group.and_then(|bytes| frame::decode(self.log, bytes).ok());
        let Some(group) = group else { return Some(FirstBadRecord { seq: first, names: None }) };
        let seq = match error {
            JournalError::Record { seq, .. } => *seq,
            _ => group.first_fault().map_or(group.first_seq, |(seq, _)| seq),
        };
        let names = group
            .meta(seq)
            .and_then(|meta| Meta::decode(meta).ok())
            .map(|meta| (meta.event.to_owned(), meta.version, meta.to.map(str::to_owned)));
        Some(FirstBadRecord { seq, names })
    }

    /// Reads a segment. The last one is synced as well: a writer may have written more than it has
    /// synced.
    fn read_segment(
        &self,
        path: &Path,
        bytes: &mut Vec<u8>,
        followed: bool,
    ) -> Result<(), JournalError> {
        bytes.clear();
        let mut file = File::open(path).map_err(io_error("opening", path))?;
        file.read_to_end(bytes).map_err(io_error("reading", path))?;
        if !followed && self.lock.is_none() {
            file.sync_data().map_err(io_error("syncing", path))?;
        }
        #[cfg(test)]
        if let Some((from, to)) = self.hidden_bytes.take() {
            bytes[from..to].fill(0);
        }
        Ok(())
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
    let last = recovery::list_files(journal)?.segments.last().map(|(first_seq, _)| *first_seq);
    let mut segments = recovery::list_files(journal)?.segments;
    segments.retain(|(first_seq, _)| Some(*first_seq) <= last);
    Ok(segments)
}

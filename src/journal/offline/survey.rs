//! Reading a log without opening it: nothing is changed, also beside the process that writes it.
//!
//! Owns what an operator's command may look at in somebody's directory: the log, record by
//! record, and what lies beside it.
//!
//! **Promises**
//! - that nothing is written, repaired or removed;
//! - that what is handed out is whole and continues the log, by the judgement of `scan`;
//! - beside a writer: that every group acknowledged before [`Survey::read`] was called is handed
//!   out, that a group which is being written just then is no damage, and that what is handed out
//!   is on stable storage in the surveyed directory, so that no copy holds what its source may
//!   lose.
//!
//! **Does not** follow a writer to wherever it has come meanwhile: a survey ends.

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

/// How often a mark is read that is being written just then.
const WATERMARK_READS_MAX: u32 = 100;

/// A directory to be read, and whether anybody may be writing it.
#[derive(Debug)]
pub struct Survey {
    path: PathBuf,
    log: Uuid,
    used_by: Option<DirectoryUser>,
    /// Present when nobody can be writing it.
    lock: Option<ReadLock>,
    /// What the next load does not see yet of what a writer has written.
    #[cfg(test)]
    pub hidden_bytes: std::cell::Cell<Option<(usize, usize)>>,
}

/// A process that uses a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryUser {
    /// Its id, when it has said so.
    pub pid: Option<u32>,
}

/// One group, whole and in its place.
#[derive(Debug)]
pub struct VerifiedGroup<'a> {
    /// Its records, in order.
    pub records: &'a [Arc<Record>],
    /// The chain after each of them.
    pub chains: &'a [Digest],
    /// The segment.
    pub file: &'a Path,
    /// Where in it the group begins.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}

/// What a whole reading found.
#[derive(Debug)]
pub struct SurveyReport {
    /// Number of groups.
    pub groups: u64,
    /// Seq of the last record, which is also their number.
    pub head: Seq,
    /// Chain after the last record; zeros in an empty log.
    pub chain: Digest,
    /// A last group that is not whole, that nothing shows to have been acknowledged, and that
    /// nobody is writing.
    pub tail: Option<UnfinishedTail>,
    /// The high-water mark.
    pub watermark: WatermarkState,
    /// Reads what was surveyed.
    pub reader: Reader,
}

/// What lies behind the last whole group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedTail {
    /// The segment.
    pub file: PathBuf,
    /// Where it begins.
    pub offset: u64,
    /// How long it is, without the zeros after it.
    pub bytes: u64,
}

/// What the high-water mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkState {
    /// Seq of the last record that it knows to be durable; nothing when it cannot be read.
    pub seq: Option<Seq>,
    /// Whether some of it is damaged.
    pub damaged: bool,
}

/// Where damage lies, as far as the damaged bytes still tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstBadRecord {
    /// The first record that is not what it was.
    pub seq: Seq,
    /// Its event, version and audience, when its names are whole.
    pub names: Option<(String, u64, Option<String>)>,
}

impl Survey {
    /// A survey that keeps everybody from using the directory while it lives.
    ///
    /// # Errors
    /// [`DirError`]: there is no log, it is in use, or it cannot be read.
    pub fn locked(path: &Path) -> Result<Self, DirError> {
        let survey = Self::find(path)?;
        let lock = ReadLock::acquire(&survey.path, &survey.path.join(LOCK))?;
        Ok(Self { lock: Some(lock), ..survey })
    }

    /// A survey beside whoever uses the directory.
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

    /// Who used the directory when the survey began; it may be anybody's later.
    #[must_use]
    pub fn used_by(&self) -> Option<DirectoryUser> {
        self.used_by
    }

    /// Bytes of the log's files: at least as many as there are to be read.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        inventory::log_bytes(self)
    }

    /// Reads the log from its beginning, a group at a time, and judges its end.
    ///
    /// # Errors
    /// [`JournalError`] as from [`crate::journal::write::writer::Journal::open`], and what `take` refuses with.
    pub fn read<E: From<JournalError>>(
        &self,
        mut visit: impl FnMut(VerifiedGroup<'_>) -> Result<(), E>,
    ) -> Result<SurveyReport, E> {
        let journal = self.path.join(JOURNAL);
        // The mark is older than the list, and the list older than what is read: whatever the mark
        // knows of is found.
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
                    // A writer may have been at work while the file was read, so that a later
                    // group was seen and this one was not. It was written before that one, so
                    // that it is there now.
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
        // Beside a writer it is the group that is being written just then.
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

    /// The checkpoint, if there is one; it is read through.
    ///
    /// # Errors
    /// A sentence that says why it is of no use: an open ignores it.
    pub fn snapshot(&self) -> Result<Option<Snapshot>, String> {
        Snapshot::read(&self.path.join(JOURNAL), self.log)
    }

    /// Where the checkpoint is, if there is one.
    #[must_use]
    pub fn snapshot_path(&self) -> PathBuf {
        snapshot::path(&self.path.join(JOURNAL))
    }

    /// The record that damage was met in, read from the damaged place itself.
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

    /// Reads a segment. Of the last one a writer may have written more than it has synced.
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

    /// The mark as it is; one of its slots may be written while it is read.
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

/// The segments that there were, without one missing, when this was called.
fn list_segments(journal: &Path) -> Result<Vec<(Seq, PathBuf)>, JournalError> {
    // A directory that grows while it is listed may show a later segment and hide an earlier one.
    let last = recovery::list_files(journal)?.segments.last().map(|(first_seq, _)| *first_seq);
    let mut segments = recovery::list_files(journal)?.segments;
    segments.retain(|(first_seq, _)| Some(*first_seq) <= last);
    Ok(segments)
}

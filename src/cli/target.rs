//! Where a copy of a log is written: a directory that appears whole or not at all.
//!
//! Owns the directory of a copy that is not finished, `<directory>.partial` beside the directory, and
//! what is done with records that an earlier run has written already.
//! Promises that a new directory gets its name only when everything in it is durable; that one
//! that is there already only grows, by ordinary synced groups, and is the log's whole beginning
//! at every moment; and that nothing is added to records that are not the source's.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use crate::audit::Digest;
use crate::cli::{Failure, io_failure};
use crate::journal::{DataDir, DirError, Journal, JournalOptions, TornTail};
use crate::record::{Record, RecordError, Seq, StoredRecord};

/// A group of a copy ends when it holds so many bytes of JSON …
const GROUP_BYTES_MAX: usize = 1 << 20;
/// … or so many records.
const GROUP_RECORDS_MAX: usize = 4_096;

/// Behind the name of a directory whose copy is not finished.
const PARTIAL_SUFFIX: &str = ".partial";

/// What becomes of a directory that is there and holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExistingTarget {
    /// It is brought up to date, if it holds a beginning of the same log.
    Extend,
    /// It is refused.
    Refuse,
}

/// What is to be written, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct CopyPlan<'a> {
    /// The directory.
    pub(super) directory: &'a Path,
    /// The log that it is to hold.
    pub(super) log: Uuid,
    /// If it is there already.
    pub(super) existing: ExistingTarget,
    /// Size of the largest segment.
    pub(super) segment_bytes: u64,
}

/// A copy under way.
pub(super) struct CopyTarget {
    directory: PathBuf,
    /// Where it is written: the directory itself, or beside it.
    working_dir: PathBuf,
    dir: DataDir,
    journal: Journal,
    /// The end of what was there: seq and chain.
    existing_end: (Seq, Digest),
    last_seq: Seq,
    group: Vec<Arc<Record>>,
    group_bytes: usize,
}

/// A copy that is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct FinishedCopy {
    /// Seq of its last record.
    pub(super) head: Seq,
    /// How many records it did not have before.
    pub(super) added: u64,
}

impl CopyTarget {
    /// Opens the directory, or an unfinished copy beside it. `visit` sees what is there already.
    pub(super) fn open(
        plan: CopyPlan<'_>,
        visit: &mut dyn FnMut(&Record, &Digest) -> Result<(), RecordError>,
    ) -> Result<Self, Failure> {
        let directory = resolve(plan.directory)?;
        if is_partial(&directory) {
            return Err(Failure::Refused(format!(
                "{} has the name of a copy that is not finished: name a directory that does not \
                 end in {PARTIAL_SUFFIX}",
                directory.display()
            )));
        }
        let working_dir = match (first_entry(&directory)?, plan.existing) {
            (None, _) => partial_beside(&directory)?,
            (Some(_), ExistingTarget::Extend) => directory.clone(),
            (Some(entry), ExistingTarget::Refuse) => {
                return Err(Failure::Refused(format!(
                    "{} is not empty: it holds {entry:?}; name a directory that is missing or \
                     empty",
                    directory.display()
                )));
            }
        };
        let dir = DataDir::open_for(&working_dir, plan.log).map_err(|error| match error {
            DirError::OtherLog { found, .. } if working_dir != directory => {
                Failure::Refused(format!(
                    "{} holds an unfinished copy of another log, {found}; remove it, and run the \
                 command again",
                    working_dir.display()
                ))
            }
            error => error.into(),
        })?;
        let mut existing_end = (0, Digest::default());
        let mut visit_existing =
            |stored: &StoredRecord<'_>, chain: &Digest| -> Result<(), RecordError> {
                let record = stored.to_record()?;
                existing_end = (record.seq(), *chain);
                visit(&record, chain)
            };
        let options = JournalOptions { segment_bytes_max: plan.segment_bytes };
        let opened = Journal::open(&dir, options, 0, &mut visit_existing)?;
        if let Some(TornTail { kept_at, .. }) = opened.report.torn {
            tracing::warn!(kept_at = %kept_at.display(), "an unfinished group was cut");
        }
        let (journal, group) = (opened.journal, Vec::new());
        Ok(Self {
            directory,
            working_dir,
            dir,
            journal,
            existing_end,
            last_seq: 0,
            group,
            group_bytes: 0,
        })
    }

    /// Seq of the last record that was there.
    pub(super) fn existing_seq(&self) -> Seq {
        self.existing_end.0
    }

    /// Whether it is written where it is to be, rather than beside.
    pub(super) fn is_in_place(&self) -> bool {
        self.working_dir == self.directory
    }

    /// Takes records that belong together, each with the chain after it: they become one group, or
    /// a part of one.
    pub(super) fn append(
        &mut self,
        records: &[Arc<Record>],
        chains: &[Digest],
    ) -> Result<(), Failure> {
        for (record, chain) in records.iter().zip(chains) {
            let seq = record.seq();
            self.last_seq = seq;
            if seq == self.existing_end.0 && *chain != self.existing_end.1 {
                return Err(self.diverged());
            }
            if seq > self.existing_end.0 {
                self.group_bytes += record.json().len();
                self.group.push(Arc::clone(record));
            }
        }
        if self.group_bytes >= GROUP_BYTES_MAX || self.group.len() >= GROUP_RECORDS_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Makes everything durable, and gives a new directory its name.
    pub(super) fn finish(mut self) -> Result<FinishedCopy, Failure> {
        let (existing, head) = (self.existing_end.0, self.last_seq);
        if head < existing {
            return Err(Failure::Refused(format!(
                "{} holds records up to seq {existing}, and what is copied ends with seq {head}: it has \
                 been used by a server since, or its source has lost records; name another \
                 directory",
                self.directory.display()
            )));
        }
        self.flush()?;
        let Self { directory, working_dir, dir, journal, .. } = self;
        journal.close()?;
        if working_dir != directory {
            sync_dir(&working_dir)?;
            fs::rename(&working_dir, &directory).map_err(io_failure("naming", &directory))?;
            sync_dir(parent(&directory))?;
        }
        drop(dir);
        Ok(FinishedCopy { head, added: head - existing })
    }

    /// Leaves nothing of a directory that has no name yet.
    pub(super) fn discard(self) -> Result<(), Failure> {
        let Self { directory, working_dir, dir, journal, .. } = self;
        drop(journal);
        if working_dir != directory {
            fs::remove_dir_all(&working_dir).map_err(io_failure("removing", &working_dir))?;
        }
        drop(dir);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if !self.group.is_empty() {
            self.journal.append(&self.group)?;
            self.group.clear();
            self.group_bytes = 0;
        }
        Ok(())
    }

    fn diverged(&self) -> Failure {
        let (at, seq) = (self.working_dir.display(), self.existing_end.0);
        let remedy = if self.working_dir == self.directory {
            "name another directory"
        } else {
            "remove it, if it is still there"
        };
        Failure::Refused(format!(
            "{at} holds other records up to seq {seq} than what is copied: it has been used by a \
             server since, or was made from another source; {remedy}, and run the command again"
        ))
    }
}

/// Where a directory is, or will be, without links and dots.
pub(super) fn resolve(directory: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(directory).map_err(io_failure("finding", directory))?;
    let mut missing = Vec::new();
    let mut above = absolute.as_path();
    loop {
        if let Ok(existing) = above.canonicalize() {
            return Ok(missing.into_iter().rev().fold(existing, |path, name| path.join(name)));
        }
        if above.is_symlink() {
            return Err(Failure::Refused(format!(
                "{} leads through a link to nothing, {}: write where it is to be",
                directory.display(),
                above.display()
            )));
        }
        match (above.file_name(), above.parent()) {
            (Some(name), Some(parent)) => {
                missing.push(name);
                above = parent;
            }
            _ => {
                return Err(Failure::Refused(format!(
                    "{} leads through a directory that does not exist: write it without ..",
                    directory.display()
                )));
            }
        }
    }
}

/// Something that a directory holds; nothing when it is empty or missing.
fn first_entry(directory: &Path) -> Result<Option<String>, Failure> {
    let mut entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(DirError::NotDirectory { path: directory.to_owned() }.into());
        }
        Err(error) => return Err(io_failure("listing", directory)(error)),
    };
    let entry = entries.next().transpose().map_err(io_failure("listing", directory))?;
    Ok(entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
}

/// The name of an unfinished copy, in the same file system.
fn partial_beside(directory: &Path) -> Result<PathBuf, Failure> {
    let device = |path: &Path| fs::metadata(path).ok().map(|found| found.dev());
    if directory.file_name().is_none() {
        return Err(Failure::Refused(format!(
            "{} cannot be made: name a directory",
            directory.display()
        )));
    }
    if device(directory).is_some_and(|own| Some(own) != device(parent(directory))) {
        return Err(Failure::Refused(format!(
            "{} is a file system of its own, and cannot be put in place as a whole: name a \
             directory within it",
            directory.display()
        )));
    }
    Ok(partial_path(directory))
}

/// The name of a copy while it is not finished.
pub(super) fn partial_path(directory: &Path) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(PARTIAL_SUFFIX);
    name.into()
}

/// Whether a directory that was resolved has such a name.
pub(super) fn is_partial(directory: &Path) -> bool {
    directory.as_os_str().as_encoded_bytes().ends_with(PARTIAL_SUFFIX.as_bytes())
}

fn parent(directory: &Path) -> &Path {
    directory.parent().unwrap_or(Path::new("/"))
}

fn sync_dir(path: &Path) -> Result<(), Failure> {
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    synced.map_err(io_failure("syncing", path))
}

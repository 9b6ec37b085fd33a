//! The target of a copy: a directory that appears complete or not at all.
//!
//! An unfinished copy is written to `<directory>.partial` next to the target, and continued by the
//! next run. A new directory gets its name only after everything in it is durable. An existing one
//! only grows, by ordinary synced groups, so it is always a complete beginning of the log. Nothing
//! is added to records that differ from the source.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use crate::audit::Digest;
use crate::cli::failure::{Failure, io_failure};
use crate::journal::{DataDir, DirError, Journal, JournalOptions, TornTail};
use crate::record::{Record, RecordError, Seq, StoredRecord};

/// A group of a copy ends when it reaches this many bytes of JSON …
const GROUP_BYTES_MAX: usize = 1 << 20;
/// … or this many records.
const GROUP_RECORDS_MAX: usize = 4_096;

/// Suffix of the directory of an unfinished copy.
const PARTIAL_SUFFIX: &str = ".partial";

/// What to do with a target directory that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExistingTarget {
    /// Bring it up to date, if it holds a beginning of the same log.
    Extend,
    /// Refuse it.
    Refuse,
}

/// What to copy, and where to.
#[derive(Clone, Copy, Debug)]
pub(super) struct CopyPlan<'a> {
    /// The target directory.
    pub(super) directory: &'a Path,
    /// The id of the log.
    pub(super) log: Uuid,
    /// What to do if the directory is not empty.
    pub(super) existing: ExistingTarget,
    /// Maximum size of a segment.
    pub(super) segment_bytes: u64,
}

/// A copy in progress.
pub(super) struct CopyTarget {
    directory: PathBuf,
    /// The directory being written: the target, or its partial directory.
    working_dir: PathBuf,
    dir: DataDir,
    journal: Journal,
    /// Seq and chain at the end of the existing records.
    existing_end: (Seq, Digest),
    last_seq: Seq,
    group: Vec<Arc<Record>>,
    group_bytes: usize,
}

/// A complete copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct FinishedCopy {
    /// Seq of its last record.
    pub(super) head: Seq,
    /// Number of records that were not there before.
    pub(super) added: u64,
}

impl CopyTarget {
    /// Opens the target, or its partial directory. `visit` sees the existing records.
    pub(super) fn open(
        plan: CopyPlan<'_>,
        visit: &mut dyn FnMut(&Record, &Digest) -> Result<(), RecordError>,
    ) -> Result<Self, Failure> {
        let directory = resolve(plan.directory)?;
        if is_partial(&directory) {
            return Err(Failure::Refused(format!(
                "{} has the name of an unfinished copy: name a directory that does not end in \
                 {PARTIAL_SUFFIX}",
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
                    "{} holds an unfinished copy of another log, {found}; remove it and run the \
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
            tracing::warn!(kept_at = %kept_at.display(), "an incomplete group was cut off");
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

    /// Seq of the last existing record.
    pub(super) fn existing_seq(&self) -> Seq {
        self.existing_end.0
    }

    /// True if the target is extended in place.
    pub(super) fn is_in_place(&self) -> bool {
        self.working_dir == self.directory
    }

    /// Appends records that belong together, each with the chain after it. They become one group,
    /// or part of one.
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
                "{} holds records up to seq {existing}, but the source ends with seq {head}: a \
                 server has used it since, or the source has lost records; name another directory",
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

    /// Removes the partial directory, if the copy was being written to one.
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
            "{at} holds other records up to seq {seq} than the source: a server has used it since, \
             or it was made from another source; {remedy}, and run the command again"
        ))
    }
}

/// The absolute path of a directory that may not exist yet, without links and dots.
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
                "{} leads through a broken link, {}: name the real path",
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

/// The name of any entry of a directory; `None` if it is empty or missing.
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

/// The partial directory, which must be in the same file system.
fn partial_beside(directory: &Path) -> Result<PathBuf, Failure> {
    let device = |path: &Path| fs::metadata(path).ok().map(|found| found.dev());
    if directory.file_name().is_none() {
        return Err(Failure::Refused(format!(
            "{} cannot be created: name a directory",
            directory.display()
        )));
    }
    if device(directory).is_some_and(|own| Some(own) != device(parent(directory))) {
        return Err(Failure::Refused(format!(
            "{} is a mount point, and a copy cannot be renamed to one: name a directory within it",
            directory.display()
        )));
    }
    Ok(partial_path(directory))
}

/// The directory of an unfinished copy.
pub(super) fn partial_path(directory: &Path) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(PARTIAL_SUFFIX);
    name.into()
}

/// True if a resolved path has the name of an unfinished copy.
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

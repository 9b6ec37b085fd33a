//! Where a copy of a log is written: a directory that appears whole or not at all.
//!
//! Owns the place of a copy that is not finished, `<directory>.partial` beside the directory, and
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
const UNFINISHED: &str = ".partial";

/// What becomes of a directory that is there and holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// It is brought up to date, if it holds a beginning of the same log.
    Extend,
    /// It is refused.
    Refuse,
}

/// What is to be written, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    /// The directory.
    pub(super) place: &'a Path,
    /// The log that it is to hold.
    pub(super) log: Uuid,
    /// If it is there already.
    pub(super) existing: Existing,
    /// Size of the largest segment.
    pub(super) segment_bytes: u64,
}

/// A copy under way.
pub(super) struct CopyTarget {
    place: PathBuf,
    /// Where it is written: the place itself, or beside it.
    at: PathBuf,
    dir: DataDir,
    journal: Journal,
    /// The end of what was there: seq and chain.
    held: (Seq, Digest),
    last_seq: Seq,
    group: Vec<Arc<Record>>,
    group_bytes: usize,
}

/// A copy that is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finished {
    /// Seq of its last record.
    pub(super) head: Seq,
    /// How many records it did not have before.
    pub(super) added: u64,
}

impl CopyTarget {
    /// Opens the place, or an unfinished copy beside it. `visit` sees what is there already.
    pub(super) fn open(
        plan: Plan<'_>,
        visit: &mut dyn FnMut(&Record, &Digest) -> Result<(), RecordError>,
    ) -> Result<Self, Failure> {
        let place = resolve(plan.place)?;
        if is_unfinished(&place) {
            return Err(Failure::Refused(format!(
                "{} has the name of a copy that is not finished: name a directory that does not \
                 end in {UNFINISHED}",
                place.display()
            )));
        }
        let at = match (occupant(&place)?, plan.existing) {
            (None, _) => beside(&place)?,
            (Some(_), Existing::Extend) => place.clone(),
            (Some(entry), Existing::Refuse) => {
                return Err(Failure::Refused(format!(
                    "{} is not empty: it holds {entry:?}; name a directory that is missing or \
                     empty",
                    place.display()
                )));
            }
        };
        let dir = DataDir::open_for(&at, plan.log).map_err(|error| match error {
            DirError::OtherLog { found, .. } if at != place => Failure::Refused(format!(
                "{} holds an unfinished copy of another log, {found}; remove it, and run the \
                 command again",
                at.display()
            )),
            error => error.into(),
        })?;
        let mut held = (0, Digest::default());
        let mut holds = |stored: &StoredRecord<'_>, chain: &Digest| -> Result<(), RecordError> {
            let record = stored.to_record()?;
            held = (record.seq(), *chain);
            visit(&record, chain)
        };
        let options = JournalOptions { segment_bytes_max: plan.segment_bytes };
        let opened = Journal::open(&dir, options, 0, &mut holds)?;
        if let Some(TornTail { kept_at, .. }) = opened.report.torn {
            tracing::warn!(kept_at = %kept_at.display(), "an unfinished group was cut");
        }
        let (journal, group) = (opened.journal, Vec::new());
        Ok(Self { place, at, dir, journal, held, last_seq: 0, group, group_bytes: 0 })
    }

    /// Seq of the last record that was there.
    pub(super) fn held(&self) -> Seq {
        self.held.0
    }

    /// Whether it is written where it is to be, rather than beside.
    pub(super) fn is_in_place(&self) -> bool {
        self.at == self.place
    }

    /// Takes records that belong together, each with the chain after it: they become one group, or
    /// a part of one.
    pub(super) fn take(
        &mut self,
        records: &[Arc<Record>],
        chains: &[Digest],
    ) -> Result<(), Failure> {
        for (record, chain) in records.iter().zip(chains) {
            let seq = record.seq();
            self.last_seq = seq;
            if seq == self.held.0 && *chain != self.held.1 {
                return Err(self.diverged());
            }
            if seq > self.held.0 {
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
    pub(super) fn finish(mut self) -> Result<Finished, Failure> {
        let (held, head) = (self.held.0, self.last_seq);
        if head < held {
            return Err(Failure::Refused(format!(
                "{} holds records up to seq {held}, and what is copied ends with seq {head}: it has \
                 been used by a server since, or its source has lost records; name another \
                 directory",
                self.place.display()
            )));
        }
        self.flush()?;
        let Self { place, at, dir, journal, .. } = self;
        journal.close()?;
        if at != place {
            sync_dir(&at)?;
            fs::rename(&at, &place).map_err(io_failure("naming", &place))?;
            sync_dir(parent(&place))?;
        }
        drop(dir);
        Ok(Finished { head, added: head - held })
    }

    /// Leaves nothing of a directory that has no name yet.
    pub(super) fn discard(self) -> Result<(), Failure> {
        let Self { place, at, dir, journal, .. } = self;
        drop(journal);
        if at != place {
            fs::remove_dir_all(&at).map_err(io_failure("removing", &at))?;
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
        let (at, seq) = (self.at.display(), self.held.0);
        let remedy = if self.at == self.place {
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
pub(super) fn resolve(place: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(place).map_err(io_failure("finding", place))?;
    let mut missing = Vec::new();
    let mut above = absolute.as_path();
    loop {
        if let Ok(existing) = above.canonicalize() {
            return Ok(missing.into_iter().rev().fold(existing, |path, name| path.join(name)));
        }
        if above.is_symlink() {
            return Err(Failure::Refused(format!(
                "{} leads through a link to nothing, {}: write where it is to be",
                place.display(),
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
                    place.display()
                )));
            }
        }
    }
}

/// Something that a directory holds; nothing when it is empty or missing.
fn occupant(place: &Path) -> Result<Option<String>, Failure> {
    let mut entries = match fs::read_dir(place) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(DirError::NotDirectory { path: place.to_owned() }.into());
        }
        Err(error) => return Err(io_failure("listing", place)(error)),
    };
    let entry = entries.next().transpose().map_err(io_failure("listing", place))?;
    Ok(entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
}

/// The name of an unfinished copy, in the same file system.
fn beside(place: &Path) -> Result<PathBuf, Failure> {
    let device = |path: &Path| fs::metadata(path).ok().map(|found| found.dev());
    if place.file_name().is_none() {
        return Err(Failure::Refused(format!(
            "{} cannot be made: name a directory",
            place.display()
        )));
    }
    if device(place).is_some_and(|device_of_it| Some(device_of_it) != device(parent(place))) {
        return Err(Failure::Refused(format!(
            "{} is a file system of its own, and cannot be put in place as a whole: name a \
             directory within it",
            place.display()
        )));
    }
    Ok(unfinished(place))
}

/// The name of a copy while it is not finished.
pub(super) fn unfinished(place: &Path) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

/// Whether a place that was resolved has such a name.
pub(super) fn is_unfinished(place: &Path) -> bool {
    place.as_os_str().as_encoded_bytes().ends_with(UNFINISHED.as_bytes())
}

fn parent(place: &Path) -> &Path {
    place.parent().unwrap_or(Path::new("/"))
}

fn sync_dir(path: &Path) -> Result<(), Failure> {
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    synced.map_err(io_failure("syncing", path))
}

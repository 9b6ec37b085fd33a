//! Creates, checks and locks a data directory.
//!
//! ```text
//! identity      the log's id; see `format/identity.rs`
//! identity.new  only while the directory is being created
//! lock          locked while a process uses the directory; holds the process id, in decimal
//! journal/      segments, watermark, snapshot, and quarantined torn tails
//! ```
//!
//! A directory that is foreign, damaged, newer or in use is refused before anything in it changes:
//! the identity is checked before the lock is taken, and the lock is taken before anything is
//! written. The identity is written last, so the next open completes a creation that a crash
//! interrupted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use crate::journal::disk::Disk;
use crate::journal::error::DirError;
use crate::journal::format::identity::IdentityError;
use crate::journal::format::segment::{FIRST_GROUP_AT, FIRST_SEGMENT_BYTES, SegmentHeader};
use crate::journal::format::watermark::{Watermark, WatermarkContents, WatermarkFile};
use crate::journal::format::{identity, segment, watermark};
use crate::journal::open::dir_error::dir_error;
use crate::journal::open::lock::{Lease, Lock};
use crate::journal::write::preallocate;
use crate::journal::write::preallocate::PreallocatedSegment;

pub const IDENTITY: &str = "identity";
const IDENTITY_NEW: &str = "identity.new";
pub const JOURNAL: &str = "journal";
pub const LOCK: &str = "lock";
/// Created by the system at the root of a new file system, which makes a good data directory.
const LOST_AND_FOUND: &str = "lost+found";

/// A checked data directory, locked until this and any journal opened from it are dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    log: Uuid,
    lock: Arc<Lock>,
}

impl DataDir {
    /// Checks and locks the directory. A missing or empty one is created, and a creation that a
    /// crash interrupted is completed.
    ///
    /// # Errors
    /// [`DirError`]: the directory is foreign, damaged, of a newer format, in use, or cannot be
    /// written.
    pub fn open(path: &Path) -> Result<Self, DirError> {
        Self::open_sized(path, FIRST_SEGMENT_BYTES)
    }

    /// Like [`DataDir::open`], for the log `log`: a new directory gets this id, and an existing one
    /// must have it.
    ///
    /// # Errors
    /// Those of [`DataDir::open`], and [`DirError::OtherLog`].
    pub fn open_for(path: &Path, log: Uuid) -> Result<Self, DirError> {
        let dir = Self::open_as(path, FIRST_SEGMENT_BYTES, log)?;
        if dir.log == log {
            Ok(dir)
        } else {
            Err(DirError::OtherLog { path: dir.path, found: dir.log, wanted: log })
        }
    }

    /// Like [`DataDir::open`]; a new log gets a first segment of `segment_bytes` bytes.
    pub(crate) fn open_sized(path: &Path, segment_bytes: u64) -> Result<Self, DirError> {
        Self::open_as(path, segment_bytes, Uuid::now_v7())
    }

    fn open_as(path: &Path, segment_bytes: u64, new_log: Uuid) -> Result<Self, DirError> {
        let path = std::path::absolute(path).map_err(dir_error("finding it", path))?;
        if read_log_id(&path)?.is_none() {
            create_dirs(&path)?;
        }
        let lock = Lock::acquire(&path, &path.join(LOCK))?;
        // Another process may have created it before this one got the lock.
        let log = match read_log_id(&path)? {
            // Its creator may have died before the identity's name was durable.
            Some(log) => {
                Disk::default().sync_dir(&path).map_err(dir_error("syncing", &path))?;
                log
            }
            None => create_log(&path, segment_bytes, new_log)?,
        };
        Ok(Self { path, log, lock: Arc::new(lock) })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id of the log, drawn when the directory was created.
    #[must_use]
    pub fn log_id(&self) -> Uuid {
        self.log
    }

    /// The directory of the journal's files.
    pub fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    /// The right to open the journal; `None` while another one is open.
    pub fn lease(&self) -> Option<Lease> {
        Lease::take(&self.lock)
    }
}

/// The log's id; `None` if a log can be created in the directory.
pub fn read_log_id(path: &Path) -> Result<Option<Uuid>, DirError> {
    let file = path.join(IDENTITY);
    match fs::read(&file) {
        Ok(bytes) => match identity::decode(&bytes) {
            Ok(log) => Ok(Some(log)),
            Err(IdentityError::Damaged(what)) => Err(DirError::Identity { path: file, what }),
            Err(IdentityError::Newer(format)) => Err(DirError::Newer { path: file, format }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => match check_vacant(path) {
            // Another process finished creating it in the meantime.
            Err(_) if file.exists() => read_log_id(path),
            vacant => vacant.map(|()| None),
        },
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(DirError::NotDirectory { path: path.to_owned() })
        }
        Err(error) => Err(dir_error("reading", &file)(error)),
    }
}

/// Refuses a directory that holds anything other than an interrupted creation leaves behind.
fn check_vacant(path: &Path) -> Result<(), DirError> {
    for name in names(path)? {
        let entry = path.join(&name);
        let is_expected = match name.as_str() {
            IDENTITY_NEW => entry.is_file(),
            JOURNAL if entry.is_dir() => {
                for inner in names(&entry)? {
                    if !is_vacant_journal_entry(&entry, &inner)? {
                        let entry = format!("{JOURNAL}/{inner}");
                        return Err(DirError::Foreign { path: path.to_owned(), entry });
                    }
                }
                true
            }
            LOCK => Lock::is_lock_file(&entry),
            LOST_AND_FOUND => entry.is_dir(),
            _ => false,
        };
        // An entry that is gone by now was removed by another process that creates the log.
        if !is_expected && entry.exists() {
            return Err(DirError::Foreign { path: path.to_owned(), entry: name });
        }
    }
    Ok(())
}

/// Whether an entry of a journal without an identity holds no record.
fn is_vacant_journal_entry(journal: &Path, name: &str) -> Result<bool, DirError> {
    let path = journal.join(name);
    if name == watermark::NAME || preallocate::is_leftover(name) {
        return Ok(path.is_file() || !path.exists());
    }
    if segment::first_seq(name) != Some(1) {
        return Ok(false);
    }
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(dir_error("reading", &path)(error)),
    };
    // A segment is named once its header is durable, so a file without one is not a segment.
    let is_segment = SegmentHeader::decode(&bytes).is_ok();
    Ok(is_segment && bytes.iter().skip(segment::HEADER_BYTES).all(|byte| *byte == 0))
}

fn names(path: &Path) -> Result<Vec<String>, DirError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(dir_error("listing", path)(error)),
    };
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()
        .map_err(dir_error("listing", path))
}

/// Creates the directory and its missing parents, and makes their names durable.
fn create_dirs(path: &Path) -> Result<(), DirError> {
    let disk = Disk::default();
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    for path in missing.into_iter().rev() {
        match disk.create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(dir_error("making it", path)(error));
            }
            _ => {}
        }
        if let Some(parent) = path.parent() {
            disk.sync_dir(parent).map_err(dir_error("syncing", parent))?;
        }
    }
    Ok(())
}

/// Creates the log in a locked, vacant directory; the identity is written last.
fn create_log(path: &Path, segment_bytes: u64, log: Uuid) -> Result<Uuid, DirError> {
    let disk = Disk::default();
    let journal = path.join(JOURNAL);
    // `check_vacant` found only leftovers without records in it.
    match disk.remove_dir_all(&journal) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(dir_error("removing what an interrupted start left behind", &journal)(
                error,
            ));
        }
        _ => {}
    }
    disk.create_dir(&journal).map_err(dir_error("making it", &journal))?;
    create_journal(&disk, &journal, log, segment_bytes)
        .map_err(dir_error("making it", &journal))?;
    disk.sync_dir(path).map_err(dir_error("syncing", path))?;
    let file = path.join(IDENTITY);
    write_identity(&disk, path, &file, log).map_err(dir_error("writing", &file))?;
    disk.sync_dir(path).map_err(dir_error("syncing", path))?;
    Ok(log)
}

/// Creates the first segment and the watermark of an empty log. Every log has them from the
/// beginning, so a journal without a segment or a watermark has lost it.
fn create_journal(disk: &Disk, journal: &Path, log: Uuid, segment_bytes: u64) -> io::Result<()> {
    let file_bytes = segment_bytes.max(FIRST_GROUP_AT).next_multiple_of(8);
    let chain_before = [0; 32];
    let header =
        SegmentHeader { log, number: 1, first_seq: 1, first_group: 1, file_bytes, chain_before };
    PreallocatedSegment::create_on_demand(disk, journal, file_bytes)?
        .into_segment(journal, &header)?;
    let mut watermark_file = WatermarkFile::open(
        disk,
        &journal.join(watermark::NAME),
        log,
        &WatermarkContents::default(),
    )?;
    let empty =
        Watermark { group: 0, seq: 0, chain: chain_before, segment: 1, offset: FIRST_GROUP_AT };
    watermark_file.write(disk, &empty)?;
    watermark_file.sync(disk)?;
    disk.sync_dir(journal)
}

fn write_identity(disk: &Disk, path: &Path, file: &Path, log: Uuid) -> io::Result<()> {
    let new = path.join(IDENTITY_NEW);
    let out = disk.create(&new)?;
    disk.write(&out, identity::encode(log).as_bytes(), 0)?;
    disk.sync_all(&out)?;
    disk.rename(&new, file)
}

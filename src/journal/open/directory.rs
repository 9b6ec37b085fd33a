//! The data directory: whose it is, and who uses it now.
//!
//! ```text
//! identity      what log this is; see the module `identity`
//! identity.new  only while the directory is being made
//! lock          locked while a process uses the directory; the process's id, in decimal
//! journal/      segments, mark, and torn tails that were kept aside
//! ```
//!
//! Owns the making and the checking of the directory.
//! Promises that a directory that is foreign, damaged, newer or in use is refused before anything
//! in it is changed: the identity is checked before the lock is taken, and the lock is taken
//! before anything is written. The identity is written last, so that a crash while the directory
//! is made leaves something that the next open completes.

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
use crate::journal::open::lock::{Lease, Lock};
use crate::journal::write::preallocate;
use crate::journal::write::preallocate::PreallocatedSegment;

const IDENTITY: &str = "identity";
const IDENTITY_NEW: &str = "identity.new";
pub const JOURNAL: &str = "journal";
pub const LOCK: &str = "lock";
/// Made by the system at the root of a new file system, which is a good data directory.
const LOST_AND_FOUND: &str = "lost+found";

/// A data directory that is ours and locked, for as long as this or a journal opened from it lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    log: Uuid,
    lock: Arc<Lock>,
}

impl DataDir {
    /// Makes the directory, or checks that it is ours, and locks it.
    ///
    /// A missing or empty directory is made anew; what a crash in that left behind is completed.
    ///
    /// # Errors
    /// [`DirError`]: the directory is foreign, damaged, of a newer format, in use, or cannot be
    /// written.
    pub fn open(path: &Path) -> Result<Self, DirError> {
        Self::open_sized(path, FIRST_SEGMENT_BYTES)
    }

    /// As [`DataDir::open`], for the log `log`: a directory that is made gets its id, and one that
    /// is there must have it.
    ///
    /// # Errors
    /// As [`DataDir::open`], and [`DirError::OtherLog`].
    pub fn open_for(path: &Path, log: Uuid) -> Result<Self, DirError> {
        let dir = Self::open_as(path, FIRST_SEGMENT_BYTES, log)?;
        if dir.log == log {
            Ok(dir)
        } else {
            Err(DirError::OtherLog { path: dir.path, found: dir.log, wanted: log })
        }
    }

    /// As [`DataDir::open`], with a first segment of `segment_bytes` when it is made.
    pub(crate) fn open_sized(path: &Path, segment_bytes: u64) -> Result<Self, DirError> {
        Self::open_as(path, segment_bytes, Uuid::now_v7())
    }

    fn open_as(path: &Path, segment_bytes: u64, new_log: Uuid) -> Result<Self, DirError> {
        let path = std::path::absolute(path).map_err(dir_error("finding it", path))?;
        if read_log_id(&path)?.is_none() {
            create_dirs(&path)?;
        }
        let lock = Lock::acquire(&path, &path.join(LOCK))?;
        // Another process may have made the directory, or begun to, until the lock was ours.
        let log = match read_log_id(&path)? {
            // Whoever made it may have ended before the identity's name was durable.
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

    /// The id of the log, drawn when the directory was made.
    #[must_use]
    pub fn log_id(&self) -> Uuid {
        self.log
    }

    /// Where the journal's files are.
    pub fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    /// The right to open the journal; one at a time.
    pub fn lease(&self) -> Option<Lease> {
        Lease::take(&self.lock)
    }
}

/// The log's id if the directory is ours; nothing if it can be made ours.
pub fn read_log_id(path: &Path) -> Result<Option<Uuid>, DirError> {
    let file = path.join(IDENTITY);
    match fs::read(&file) {
        Ok(bytes) => match identity::decode(&bytes) {
            Ok(log) => Ok(Some(log)),
            Err(IdentityError::Damaged(what)) => Err(DirError::Identity { path: file, what }),
            Err(IdentityError::Newer(format)) => Err(DirError::Newer { path: file, format }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => match check_vacant(path) {
            // Another process has finished making it while we looked.
            Err(_) if file.exists() => read_log_id(path),
            vacant => vacant.map(|()| None),
        },
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(DirError::NotDirectory { path: path.to_owned() })
        }
        Err(error) => Err(dir_error("reading", &file)(error)),
    }
}

/// Refuses a directory that holds anything but what an interrupted making leaves.
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
        // What is gone by now was another process's, which is making the directory.
        if !is_expected && entry.exists() {
            return Err(DirError::Foreign { path: path.to_owned(), entry: name });
        }
    }
    Ok(())
}

/// Whether an entry of a journal without identity holds no record.
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
    // A segment gets its name when its header is durable, so one without is somebody else's file.
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

/// Makes the directory and those above it, and makes their names durable.
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

/// Makes everything in a vacant directory that is locked; the identity is last.
fn create_log(path: &Path, segment_bytes: u64, log: Uuid) -> Result<Uuid, DirError> {
    let disk = Disk::default();
    let journal = path.join(JOURNAL);
    // Everything in it was found to be a leftover without records.
    match disk.remove_dir_all(&journal) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(dir_error("removing what an interrupted start left", &journal)(error));
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

/// The first segment and the mark of an empty log. They are made with the directory, so that a
/// journal without a segment, or without a mark, is one that lost it.
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

/// For `map_err`: a system's refusal as one that tells what to do, where that is known.
pub fn dir_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirError {
    use io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    let path = path.to_owned();
    move |source| match source.kind() {
        NotADirectory => DirError::NotDirectory { path },
        PermissionDenied | ReadOnlyFilesystem => DirError::Unwritable { path, source },
        _ => DirError::Io { path, doing, source },
    }
}

//! The lock of a data directory, and the lease on its one journal.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::journal::error::DirError;
use crate::journal::open::dir_error::dir_error;

/// A process id, at most 10 digits, and a line feed.
const PID_LINE_BYTES_MAX: u64 = 11;

/// How long a held lock is retried: a process that only checks whether the directory is in use
/// holds it for a moment, which must not keep a server from starting.
const RETRY_DURATION: Duration = Duration::from_millis(100);

/// The locked file. The system releases the lock when it is closed, even if the process is killed.
#[derive(Debug)]
pub struct Lock {
    /// Never read; closing it releases the lock.
    _file: File,
    /// Whether a journal is open on the directory.
    leased: AtomicBool,
}

/// A shared lock for reading: it changes nothing in the directory, and no other process can start
/// to use it.
#[derive(Debug)]
pub struct ReadLock {
    /// Never read; absent if there is no lock file, as in a copy.
    _file: Option<File>,
}

/// The right to have the journal open. It also keeps the directory locked.
#[derive(Debug)]
pub struct Lease(Arc<Lock>);

impl Lock {
    /// Locks the directory `dir` through its lock file `path`, and writes this process's id into
    /// the file, for the error message of a process that is refused.
    pub fn acquire(dir: &Path, path: &Path) -> Result<Self, DirError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(dir_error("opening", path))?;
        let began = Instant::now();
        let mut locked = file.try_lock();
        while matches!(locked, Err(TryLockError::WouldBlock)) && began.elapsed() < RETRY_DURATION {
            thread::sleep(RETRY_DURATION / 20);
            locked = file.try_lock();
        }
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                // The file may hold the id of a dead process while a reader holds the lock.
                return Err(DirError::Locked {
                    path: dir.to_owned(),
                    pid: read_pid(path).filter(|pid| is_running(*pid)),
                });
            }
            Err(TryLockError::Error(error)) => return Err(dir_error("locking", path)(error)),
        }
        if let Err(error) = write_pid(&mut file) {
            // A full disk must not prevent reading; only the error message lacks the id.
            tracing::warn!(path = %path.display(), %error, "the process id could not be written");
        }
        Ok(Self { _file: file, leased: AtomicBool::new(false) })
    }

    /// Whether a file can be the lock file of a directory that is being created.
    pub fn is_lock_file(path: &Path) -> bool {
        let bytes = fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|found| found.len());
        bytes.is_some_and(|bytes| {
            bytes == 0 || bytes <= PID_LINE_BYTES_MAX && read_pid(path).is_some()
        })
    }
}

impl ReadLock {
    /// Keeps other processes from using the directory `dir`, whose lock file is `path`.
    pub fn acquire(dir: &Path, path: &Path) -> Result<Self, DirError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { _file: None });
            }
            Err(error) => return Err(dir_error("opening", path)(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(DirError::Locked {
                path: dir.to_owned(),
                pid: read_pid(path).filter(|pid| is_running(*pid)),
            }),
            Err(TryLockError::Error(error)) => Err(dir_error("locking", path)(error)),
        }
    }
}

impl Lease {
    pub fn take(lock: &Arc<Lock>) -> Option<Self> {
        let free = !lock.leased.swap(true, Ordering::AcqRel);
        free.then(|| Self(Arc::clone(lock)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.leased.store(false, Ordering::Release);
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim_end().parse().ok()
}

fn is_running(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

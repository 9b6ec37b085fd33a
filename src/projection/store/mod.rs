//! The only code that calls sled: every call is made here, and its errors and panics are caught.
//!
//! **Owns** the open database and whether it is valid.
//!
//! **Promises** that whatever sled does, a panic included, becomes a [`StoreFault`], and that
//! nobody waits for sled's `Drop`, which can hang or panic after a failed write. Errors are sticky
//! in sled, so a store that failed once stays invalid; [`StoreFault::is_no_space`] says whether its
//! files can be opened again.
//!
//! **Does not** call `flush`, `watch_prefix`, `generate_id` or a transaction of sled.

#[cfg(test)]
pub mod faults;
pub mod keys;
pub mod position;
pub mod versions;

use std::fs::{self, File, TryLockError};
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sled::{Db, IVec, Iter};
use thiserror::Error;

/// sled rewrites and frees a segment as a whole. Values are small.
const SEGMENT_BYTES: usize = 8 << 20;

/// The file that sled locks.
const DATA_FILE: &str = "db";

/// A new store has 96 bytes, one that was opened again zeros after them, and one with the smallest
/// step 300 bytes.
const UNWRITTEN_BYTES_MAX: usize = 256;

/// How often sled's garbage collection runs after a batch. sled runs it on every 128th read of a
/// thread, but a batch counts as one read however large it is, and leaves some forty bags of
/// replaced values, of which one run frees eight at most. Without this, a writer that does not read
/// would hold a gigabyte of them, and twice the disk.
const COLLECTIONS_PER_BATCH: usize = 16;

/// How long an open waits for an earlier handle to release the files.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a store cannot be used. None of the reasons concerns the journal.
#[derive(Debug, Error)]
pub enum StoreFault {
    /// Its content contradicts itself or the journal.
    #[error("{0}")]
    Invalid(&'static str),
    /// Another handle has it open or is closing it, so it was not looked at.
    #[error("its files are still in use")]
    Held,
    /// An operation on its files failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// sled panicked.
    #[error("sled panicked: {0}")]
    Panic(String),
    /// sled failed.
    #[error("sled: {0}")]
    Sled(#[from] sled::Error),
}

impl StoreFault {
    /// Whether the disk was full, which does not make the files invalid.
    pub fn is_no_space(&self) -> bool {
        let (Self::Io(error) | Self::Sled(sled::Error::Io(error))) = self else { return false };
        matches!(
            error.kind(),
            io::ErrorKind::FileTooLarge | io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull
        )
    }
}

/// An open database; shared between the thread that applies and the readers.
pub struct Store {
    /// Taken in `Drop` only.
    db: Option<Db>,
    /// The first reason not to use it. Set once: an invalid store never becomes valid again.
    fault: OnceLock<StoreFault>,
    /// Whether the id index is known to be complete up to the applied position.
    ids_complete: AtomicBool,
    /// Dropped when sled has closed, which the close of the projection waits for.
    alive: Option<mpsc::Sender<()>>,
    #[cfg(test)]
    path: PathBuf,
}

/// Entries that are applied together. sled keeps them in a hash map and applies them in its order,
/// so sorting them would change nothing.
#[derive(Default)]
pub struct StoreBatch(sled::Batch);

/// A scan of which every step is caught.
pub struct StoreScan(Iter);

impl Store {
    /// Opens or creates the database in `path`.
    pub fn open(
        path: &Path,
        cache_bytes_max: u64,
        alive: mpsc::Sender<()>,
    ) -> Result<Self, StoreFault> {
        fs::create_dir_all(path)?;
        // First, because an earlier handle may still be writing a snapshot.
        wait_until_released(&path.join(DATA_FILE))?;
        for leftover in unfinished_snapshots(path)? {
            tracing::warn!(path = %leftover.display(), "removing a half-written snapshot of sled");
            fs::remove_file(leftover)?;
        }
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes_max)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(Some(500));
        let db = catching(|| {
            #[cfg(test)]
            faults::inject(path, faults::Call::Open)?;
            config.open()
        })?;
        Ok(Self {
            db: Some(db),
            fault: OnceLock::new(),
            ids_complete: AtomicBool::new(false),
            alive: Some(alive),
            #[cfg(test)]
            path: path.to_owned(),
        })
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreFault> {
        catching(|| self.db().get(key))
    }

    pub fn is_empty(&self) -> Result<bool, StoreFault> {
        catching(|| Ok(self.db().iter().next().transpose()?.is_none()))
    }

    /// Applies all entries or none of them.
    pub fn apply(&self, batch: StoreBatch) -> Result<(), StoreFault> {
        catching(|| {
            #[cfg(test)]
            faults::inject(&self.path, faults::Call::Apply)?;
            self.db().apply_batch(batch.0)?;
            (0..COLLECTIONS_PER_BATCH).for_each(|_| crossbeam_epoch::pin().flush());
            Ok(())
        })
    }

    /// Scans the keys after `key` that have the same first byte, in ascending order. Not a
    /// snapshot.
    pub fn scan_after(&self, key: &[u8]) -> Result<StoreScan, StoreFault> {
        let end = [key[0] + 1];
        let range = (Bound::Excluded(key), Bound::Excluded(end.as_slice()));
        catching(|| Ok(self.db().range::<&[u8], _>(range))).map(StoreScan)
    }

    /// Records the first reason not to use the store. From now on readers are refused, and the
    /// projection thread quarantines it, or opens it again if the disk was full.
    pub fn invalidate(&self, fault: StoreFault) {
        self.fault.get_or_init(|| {
            if fault.is_no_space() {
                tracing::error!(reason = %fault, "there is no space for the projection");
            } else {
                tracing::error!(reason = %fault, "the projection is invalid");
            }
            fault
        });
    }

    pub fn fault(&self) -> Option<&StoreFault> {
        self.fault.get()
    }

    pub fn ids_complete(&self) -> bool {
        self.ids_complete.load(Ordering::Acquire)
    }

    pub fn confirm_ids(&self) {
        self.ids_complete.store(true, Ordering::Release);
    }

    pub fn db(&self) -> &Db {
        self.db.as_ref().expect("the database is taken only in drop")
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let (db, alive) = (self.db.take(), self.alive.take());
        let close = move || {
            if let Err(fault) = catching(|| {
                drop(db);
                Ok(())
            }) {
                tracing::warn!(%fault, "closing sled failed");
            }
            drop(alive);
        };
        // The last holder may be a reader, which must not wait for sled's flush. If no thread
        // starts, the closure is dropped here, and the database with it.
        if let Err(error) = thread::Builder::new().name("sled-close".to_owned()).spawn(close) {
            tracing::warn!(%error, "no thread can be started to close sled");
        }
    }
}

impl StoreBatch {
    pub fn insert(&mut self, key: &[u8], value: &[u8]) {
        self.0.insert(key, value);
    }
}

impl Iterator for StoreScan {
    type Item = Result<(IVec, IVec), StoreFault>;

    fn next(&mut self) -> Option<Self::Item> {
        catching(|| self.0.next().transpose()).transpose()
    }
}

/// Runs one call of sled.
fn catching<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreFault> {
    // A store that panicked becomes invalid, so nobody sees what the panic left behind.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => Ok(result?),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(StoreFault::Panic(text.unwrap_or("no message").to_owned()))
        }
    }
}

/// Whether the store in `path` was created and never written to. To be called before it is opened.
pub fn is_unwritten(path: &Path) -> bool {
    let data_file = path.join(DATA_FILE);
    fs::metadata(&data_file).is_ok_and(|file| file.len() <= SEGMENT_BYTES as u64)
        && fs::read(&data_file)
            .is_ok_and(|bytes| bytes.iter().skip(UNWRITTEN_BYTES_MAX).all(|byte| *byte == 0))
}

/// Whether the store in `path` is still within its first segment, which may never have been written
/// if the disk was full. To be called before it is opened.
pub fn is_in_first_segment(path: &Path) -> bool {
    fs::metadata(path.join(DATA_FILE)).is_ok_and(|file| file.len() <= SEGMENT_BYTES as u64)
}

/// Waits until an earlier handle of this process has released the lock: sled's own threads hold it
/// for some time after the last handle is dropped. Opening at once would fail, and invalidate a
/// sound store.
fn wait_until_released(data_file: &Path) -> Result<(), StoreFault> {
    let began = Instant::now();
    let Ok(file) = File::open(data_file) else { return Ok(()) };
    while let Err(TryLockError::WouldBlock) = file.try_lock() {
        if began.elapsed() >= RELEASE_TIMEOUT {
            tracing::warn!(path = %data_file.display(), "another handle holds the projection");
            return Err(StoreFault::Held);
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Snapshots that sled was writing when it stopped: with one of them the store never opens again.
fn unfinished_snapshots(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut unfinished_snapshots = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            unfinished_snapshots.push(entry.path());
        }
    }
    Ok(unfinished_snapshots)
}

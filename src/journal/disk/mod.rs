//! Every operation that changes the journal's files.
//!
//! **Owns** the operations that durability depends on: write, sync, create, rename, remove, and
//! sync of a directory.
//!
//! **Promises** no more than the system does. Under test an operation fails on demand, either
//! before or after the bytes were stored, and in a simulation a [`simulated`] disk decides what is
//! left after a power cut.
//!
//! **Does not** decide what a failure means; the caller does.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

#[cfg(test)]
pub mod faults;
#[cfg(test)]
pub(crate) mod simulated;

/// Zeros are written in chunks of this size.
const ZEROS_BYTES: usize = 256 * 1024;

/// The zeros of a new file are synced in parts of this size, so that a group that is synced at the
/// same time waits for one part, 0.5 ms, not for a whole segment, 30 ms. Tests have small files, so
/// theirs is smaller.
const SYNCED_BYTES: u64 = if cfg!(test) { 8 * 1024 } else { 512 * 1024 };

/// A handle to the operations. Under test, clones share their injected faults.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    #[cfg(test)]
    pub faults: std::sync::Arc<faults::Faults>,
    #[cfg(test)]
    simulated: simulated::CurrentDisk,
}

#[cfg_attr(not(test), allow(clippy::unused_self, reason = "only under test a disk has a state"))]
impl Disk {
    /// Writes all of `bytes` at `offset`.
    pub fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.check(faults::InjectedFault::Write)?;
        #[cfg(test)]
        if let Some(disk) = self.simulated.disk() {
            return disk.write(file, bytes, offset);
        }
        file.write_all_at(bytes, offset)
    }

    /// Makes the file's bytes durable (`fdatasync`).
    pub fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        self.faults.check(faults::InjectedFault::Sync)?;
        #[cfg(test)]
        if let Some(disk) = self.simulated.disk() {
            return disk.sync(file);
        }
        file.sync_data()
    }

    /// Makes the file's bytes and metadata durable (`fsync`).
    pub fn sync_all(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        if let Some(disk) = self.simulated.disk() {
            return disk.sync(file);
        }
        file.sync_all()
    }

    /// Creates a file, which must not exist.
    pub fn create_new(&self, path: &Path) -> io::Result<File> {
        self.make(path, OpenOptions::new().read(true).write(true).create_new(true))
    }

    /// Creates an empty file, replacing an existing one.
    pub fn create(&self, path: &Path) -> io::Result<File> {
        self.make(path, OpenOptions::new().write(true).create(true).truncate(true))
    }

    /// Opens a file for writing with a size of `bytes`; creates it if it is missing.
    pub fn open_sized(&self, path: &Path, bytes: u64) -> io::Result<File> {
        let file = self.make(path, OpenOptions::new().write(true).create(true).truncate(false))?;
        #[cfg(test)]
        if let Some(disk) = self.simulated.disk() {
            disk.set_len(&file, bytes)?;
            return Ok(file);
        }
        file.set_len(bytes)?;
        Ok(file)
    }

    /// Creates a file of `bytes` zeros and syncs it.
    ///
    /// The zeros are written, not only allocated: measured on ext4, `fdatasync` of a write into
    /// allocated but unwritten extents is slower, because it changes metadata too. They are synced
    /// in parts, to keep other syncs short, until `is_awaited` returns true; then the rest is
    /// synced at once.
    pub fn create_zeros(
        &self,
        path: &Path,
        bytes: u64,
        is_awaited: impl Fn() -> bool,
    ) -> io::Result<File> {
        let file = self.create_new(path)?;
        for offset in (0..bytes).step_by(SYNCED_BYTES as usize) {
            let len = SYNCED_BYTES.min(bytes - offset);
            self.zero(&file, offset, len)?;
            if offset + len < bytes && !is_awaited() {
                self.sync_all(&file)?;
            }
        }
        #[cfg(test)]
        self.faults.check(faults::InjectedFault::Space)?;
        #[cfg(test)]
        if let Some(disk) = self.simulated.disk() {
            disk.space()?;
        }
        self.sync_all(&file)?;
        Ok(file)
    }

    /// Overwrites `bytes` bytes from `offset` with zeros.
    pub fn zero(&self, file: &File, mut offset: u64, bytes: u64) -> io::Result<()> {
        let zeros = vec![0; ZEROS_BYTES.min(usize::try_from(bytes).unwrap_or(ZEROS_BYTES))];
        let end = offset + bytes;
        while offset < end {
            let len = usize::try_from(end - offset).map_or(zeros.len(), |n| n.min(zeros.len()));
            #[cfg(test)]
            if let Some(disk) = self.simulated.disk() {
                disk.write(file, &zeros[..len], offset)?;
                offset += len as u64;
                continue;
            }
            file.write_all_at(&zeros[..len], offset)?;
            offset += len as u64;
        }
        Ok(())
    }

    /// Renames a file, replacing one that has the new name.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        #[cfg(test)]
        if let Some(disk) = self.simulated.disk() {
            return disk.rename(from, to);
        }
        fs::rename(from, to)
    }

    /// Removes a file.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        #[cfg(test)]
        if let Some(disk) = self.simulated.disk() {
            return disk.remove(path);
        }
        fs::remove_file(path)
    }

    /// Creates a directory.
    pub fn create_dir(&self, path: &Path) -> io::Result<()> {
        #[cfg(test)]
        if let Some(disk) = self.simulated.disk() {
            return disk.create_dir(path);
        }
        fs::create_dir(path)
    }

    /// Removes a directory and its contents.
    pub fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        #[cfg(test)]
        if let Some(disk) = self.simulated.disk() {
            return disk.remove_dir_all(path);
        }
        fs::remove_dir_all(path)
    }

    /// Makes creations, renames and removals of names in a directory durable.
    pub fn sync_dir(&self, path: &Path) -> io::Result<()> {
        #[cfg(test)]
        if let Some(disk) = self.simulated.disk() {
            return disk.sync_dir(path);
        }
        File::open(path)?.sync_all()
    }

    /// Whether the disk is simulated. Then threads must not run concurrently, because a run must be
    /// reproducible from its seed.
    pub fn is_simulated(&self) -> bool {
        #[cfg(test)]
        return self.simulated.disk().is_some();
        #[cfg(not(test))]
        false
    }

    fn make(&self, path: &Path, options: &OpenOptions) -> io::Result<File> {
        #[cfg(test)]
        if let Some(disk) = self.simulated.disk() {
            return disk.make(path, options);
        }
        options.open(path)
    }
}

/// Writes a file sequentially.
#[derive(Debug)]
pub struct SequentialWriter {
    pub disk: Disk,
    pub file: File,
    pub at: u64,
}

impl io::Write for SequentialWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write(&self.file, bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether an error means that there is no space for a file, not that the disk is failing.
pub fn is_no_space(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

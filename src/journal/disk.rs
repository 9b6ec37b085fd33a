//! The only place that changes what the journal keeps on disk.
//!
//! Owns the four operations that durability rests on: write, sync, fill with zeros, sync a
//! directory.
//! Promises nothing that the system does not; whoever calls decides what a failure means.
//! Under test it fails on demand, in both ways that a write can fail: before and after the bytes
//! were stored.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Zeros are written in pieces of this size.
const ZEROS_BYTES: usize = 256 * 1024;

/// A handle on the operations; clones share their faults.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    pub(super) faults: std::sync::Arc<faults::Faults>,
}

impl Disk {
    /// Writes all of `bytes` at `offset`.
    pub(super) fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.fail(faults::Fault::Write)?;
        file.write_all_at(bytes, offset)
    }

    /// Makes the file's bytes durable.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        self.faults.fail(faults::Fault::Sync)?;
        file.sync_data()
    }

    /// Makes a new file of `bytes` zeros and syncs it.
    ///
    /// The zeros are written, not only allocated: measured on ext4, `fdatasync` of a write into
    /// extents that are allocated but unwritten is slower, because it changes metadata too.
    pub(super) fn create_zeros(&self, path: &Path, bytes: u64) -> io::Result<File> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        self.zero(&file, 0, bytes)?;
        #[cfg(test)]
        self.faults.fail(faults::Fault::Space)?;
        file.sync_all()?;
        Ok(file)
    }

    /// Overwrites `bytes` bytes from `offset` with zeros.
    pub(super) fn zero(&self, file: &File, mut offset: u64, bytes: u64) -> io::Result<()> {
        let zeros = vec![0; ZEROS_BYTES];
        let end = offset + bytes;
        while offset < end {
            let len = usize::try_from(end - offset).map_or(ZEROS_BYTES, |n| n.min(ZEROS_BYTES));
            file.write_all_at(&zeros[..len], offset)?;
            offset += len as u64;
        }
        Ok(())
    }

    /// Makes names that were created, renamed or removed in a directory durable.
    pub(super) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// Whether an error says that there is no room for a file, rather than that the disk is failing.
pub(super) fn is_no_space(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[cfg(test)]
pub(super) mod faults {
    use std::io;
    use std::sync::atomic::{AtomicU8, Ordering};

    /// What fails next, until it is healed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u8)]
    pub(in crate::journal) enum Fault {
        /// Nothing.
        None,
        /// Filling a new file: no space is left.
        Space,
        /// A sync, after the bytes were written.
        Sync,
        /// A write, before any byte is written.
        Write,
    }

    #[derive(Debug, Default)]
    pub(in crate::journal) struct Faults(AtomicU8);

    impl Faults {
        pub(in crate::journal) fn set(&self, fault: Fault) {
            self.0.store(fault as u8, Ordering::SeqCst);
        }

        pub(super) fn fail(&self, fault: Fault) -> io::Result<()> {
            if self.0.load(Ordering::SeqCst) != fault as u8 {
                return Ok(());
            }
            Err(match fault {
                Fault::Space => io::ErrorKind::StorageFull.into(),
                _ => io::Error::from_raw_os_error(5),
            })
        }
    }
}

//! Preallocates segments: files of zeros under a temporary name.
//!
//! A background thread fills `next.tmp` while the current segment is written. If it is not there or
//! too small when a segment is needed, the writer fills `own.tmp` itself. A file gets a segment's
//! name only after its size and header are durable; after a failure before that it is removed, and
//! after a crash the next open removes it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::journal::disk::Disk;
use crate::journal::format::segment;
use crate::journal::format::segment::SegmentHeader;

const TEMPORARY_SUFFIX: &str = ".tmp";
const NEXT: &str = "next.tmp";
const ON_DEMAND: &str = "own.tmp";

/// A file of synced zeros, which is removed when dropped.
#[derive(Debug)]
pub struct PreallocatedSegment {
    file: File,
    path: PathBuf,
    bytes: u64,
    disk: Disk,
    /// Whether it was renamed to a segment.
    is_segment: bool,
}

/// Preallocates the next segment in the background, at most one at a time.
#[derive(Debug)]
pub struct Preallocation {
    journal: PathBuf,
    disk: Disk,
    state: PreallocationState,
}

#[derive(Debug)]
enum PreallocationState {
    /// Not retried in the background: the writer creates the next segment on demand.
    Failed,
    Idle,
    Running {
        bytes: u64,
        /// Whether the writer is waiting for it.
        awaited: Arc<AtomicBool>,
        thread: JoinHandle<io::Result<PreallocatedSegment>>,
    },
}

impl PreallocatedSegment {
    /// Creates one in the calling thread.
    pub fn create_on_demand(disk: &Disk, journal: &Path, bytes: u64) -> io::Result<Self> {
        Self::create(disk, journal.join(ON_DEMAND), bytes, || true)
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes and syncs the header, and renames the file to a segment. The caller syncs the
    /// directory to make the name durable.
    pub fn into_segment(mut self, journal: &Path, header: &SegmentHeader) -> io::Result<File> {
        debug_assert_eq!(header.file_bytes, self.bytes, "the header states the size of the file");
        self.disk.write(&self.file, &header.encode(), 0)?;
        self.disk.sync(&self.file)?;
        let file = self.file.try_clone()?;
        self.disk.rename(&self.path, &segment::path(journal, header.first_seq))?;
        self.is_segment = true;
        Ok(file)
    }

    fn create(
        disk: &Disk,
        path: PathBuf,
        bytes: u64,
        is_awaited: impl Fn() -> bool,
    ) -> io::Result<Self> {
        let file = disk.create_zeros(&path, bytes, is_awaited).inspect_err(|_| {
            // A partial file would occupy space that is needed elsewhere.
            let _ = disk.remove(&path);
        })?;
        Ok(Self { file, path, bytes, disk: disk.clone(), is_segment: false })
    }
}

impl Drop for PreallocatedSegment {
    fn drop(&mut self) {
        if !self.is_segment {
            // If this fails, the next open removes the file.
            let _ = self.disk.remove(&self.path);
        }
    }
}

impl Preallocation {
    pub fn new(journal: PathBuf, disk: Disk) -> Self {
        Self { journal, disk, state: PreallocationState::Idle }
    }

    /// Starts preallocating a segment, unless one is in progress, ready or has failed.
    pub fn begin(&mut self, bytes: u64) {
        if !matches!(self.state, PreallocationState::Idle) {
            return;
        }
        let (disk, path) = (self.disk.clone(), self.journal.join(NEXT));
        let awaited = Arc::new(AtomicBool::new(false));
        let is_awaited = {
            let awaited = awaited.clone();
            move || awaited.load(Ordering::Relaxed)
        };
        let spawned = std::thread::Builder::new()
            .name("broker-segment".to_owned())
            .spawn(move || PreallocatedSegment::create(&disk, path, bytes, is_awaited));
        self.state = match spawned {
            Ok(thread) => {
                while self.disk.is_simulated() && !thread.is_finished() {
                    std::thread::yield_now();
                }
                PreallocationState::Running { bytes, awaited, thread }
            }
            Err(error) => {
                tracing::warn!(%error, "no thread could be started to preallocate a segment");
                PreallocationState::Failed
            }
        };
    }

    /// Takes the preallocated segment if it has at least `bytes_min`; waits for it if necessary.
    /// One that is too small is kept for later.
    pub fn take(&mut self, bytes_min: u64) -> Option<PreallocatedSegment> {
        if matches!(self.state, PreallocationState::Running { bytes, .. } if bytes < bytes_min) {
            return None;
        }
        match std::mem::replace(&mut self.state, PreallocationState::Idle) {
            PreallocationState::Failed | PreallocationState::Idle => None,
            PreallocationState::Running { awaited, thread, .. } => {
                awaited.store(true, Ordering::Relaxed);
                join(thread)
            }
        }
    }
}

impl Drop for Preallocation {
    /// Waits for the thread, which must not outlive the lock on the directory.
    fn drop(&mut self) {
        self.take(0);
    }
}

fn join(thread: JoinHandle<io::Result<PreallocatedSegment>>) -> Option<PreallocatedSegment> {
    match thread.join() {
        Ok(Ok(preallocated)) => Some(preallocated),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the next segment of the journal could not be preallocated");
            None
        }
        Err(_) => {
            tracing::warn!("the thread that preallocates segments of the journal panicked");
            None
        }
    }
}

/// Whether a file of this name is left over from a crash.
pub fn is_leftover(name: &str) -> bool {
    name.ends_with(TEMPORARY_SUFFIX)
}

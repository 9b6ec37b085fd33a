//! Segments before they are used: zeros under a temporary name.
//!
//! Owns the files `next.tmp`, filled by a background thread while the current segment is written,
//! and `own.tmp`, filled on the spot when none is ready or the ready one is too small.
//! Promises that a segment's name appears only after its size and header are durable, and that a
//! failure before that leaves no file behind. What a crash leaves is removed at the next open.

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

/// A file of synced zeros; dropped, it is removed.
#[derive(Debug)]
pub struct PreallocatedSegment {
    file: File,
    path: PathBuf,
    bytes: u64,
    disk: Disk,
    /// Whether it has become a segment.
    is_segment: bool,
}

/// The preparation of the next segment, at most one at a time.
#[derive(Debug)]
pub struct Preallocation {
    journal: PathBuf,
    disk: Disk,
    state: PreallocationState,
}

#[derive(Debug)]
enum PreallocationState {
    /// It failed; it is tried again, on the spot, when the segment is needed.
    Failed,
    Idle,
    Running {
        bytes: u64,
        /// Whether somebody waits for it.
        awaited: Arc<AtomicBool>,
        thread: JoinHandle<io::Result<PreallocatedSegment>>,
    },
}

impl PreallocatedSegment {
    /// Makes one on the spot.
    pub fn create_on_demand(disk: &Disk, journal: &Path, bytes: u64) -> io::Result<Self> {
        Self::create(disk, journal.join(ON_DEMAND), bytes, || true)
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes the header, syncs, and gives the file its name, which the caller makes durable by
    /// syncing the directory.
    pub fn into_segment(mut self, journal: &Path, header: &SegmentHeader) -> io::Result<File> {
        debug_assert_eq!(header.file_bytes, self.bytes, "a header states the size of its file");
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
            // A partial file would hold the space that others need.
            let _ = disk.remove(&path);
        })?;
        Ok(Self { file, path, bytes, disk: disk.clone(), is_segment: false })
    }
}

impl Drop for PreallocatedSegment {
    fn drop(&mut self) {
        if !self.is_segment {
            // Were it to stay, the next open would remove it.
            let _ = self.disk.remove(&self.path);
        }
    }
}

impl Preallocation {
    pub fn new(journal: PathBuf, disk: Disk) -> Self {
        Self { journal, disk, state: PreallocationState::Idle }
    }

    /// Begins to prepare a segment, unless one is prepared or was tried.
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
                tracing::warn!(%error, "no thread could be started to prepare a segment");
                PreallocationState::Failed
            }
        };
    }

    /// The prepared segment if it has at least `bytes_min`, waited for if need be. One that is too
    /// small stays for later.
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
    /// The thread must not outlive the lock on the directory.
    fn drop(&mut self) {
        self.take(0);
    }
}

fn join(thread: JoinHandle<io::Result<PreallocatedSegment>>) -> Option<PreallocatedSegment> {
    match thread.join() {
        Ok(Ok(preallocated)) => Some(preallocated),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the next segment of the journal could not be prepared");
            None
        }
        Err(_) => {
            tracing::warn!("the thread that prepares segments of the journal panicked");
            None
        }
    }
}

/// Whether a file name is one that only a crash leaves behind.
pub fn is_leftover(name: &str) -> bool {
    name.ends_with(TEMPORARY_SUFFIX)
}

//! The durable position: what the writer publishes, and what readers wait for.
//!
//! While no reader waits, an append pays for one lock and nothing else. Reading by location keeps a
//! bounded number of files open.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::journal::format::segment;
use crate::journal::read::index::{GroupOffset, LogIndex};
use crate::record::Seq;

/// Files that reading by location keeps open: 8 GiB of the largest segments. A page of an event's
/// history is spread over the log, and opening a file costs more than reading a record from it.
const FILES_CACHED_MAX: usize = 128;

/// The state of the log that the writer publishes to readers.
#[derive(Debug)]
pub struct LogState {
    journal: PathBuf,
    log: Uuid,
    /// Seq of the last durable record. Written under the lock of `state`, after the index; read
    /// without the lock.
    durable: AtomicU64,
    state: Mutex<DurablePosition>,
    advanced: Condvar,
}

#[derive(Debug)]
struct DurablePosition {
    index: LogIndex,
    /// Files that were opened to read by location, oldest first.
    cached_files: VecDeque<Arc<File>>,
    /// Readers that are waiting; if there are none, an append does not notify.
    waiting: usize,
    /// Calls of [`LogState::wake_all`].
    wakes: u64,
}

impl LogState {
    pub fn new(journal: PathBuf, log: Uuid, durable: Seq, index: LogIndex) -> Self {
        let state = Mutex::new(DurablePosition {
            index,
            cached_files: VecDeque::new(),
            waiting: 0,
            wakes: 0,
        });
        Self { journal, log, durable: AtomicU64::new(durable), state, advanced: Condvar::new() }
    }

    /// The log's id.
    pub fn log(&self) -> Uuid {
        self.log
    }

    /// The journal's directory.
    pub fn journal(&self) -> &Path {
        &self.journal
    }

    /// Seq of the last durable record, 0 in an empty log.
    pub fn durable(&self) -> Seq {
        self.durable.load(Ordering::Acquire)
    }

    /// Blocks until the durable seq is greater than `after`, until the timeout, or until `wake_all`
    /// was called more than `wakes_seen` times. Returns the number of these calls.
    pub fn wait_past(&self, after: Seq, timeout: Duration, wakes_seen: u64) -> u64 {
        // A deadline that the clock cannot express means no timeout.
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.lock();
        state.waiting += 1;
        while self.durable() <= after && state.wakes == wakes_seen {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            state = match left {
                Some(left) => {
                    let waited = self.advanced.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.advanced.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.waiting -= 1;
        state.wakes
    }

    /// Ends the waits of all readers.
    pub fn wake_all(&self) {
        self.lock().wakes += 1;
        self.advanced.notify_all();
    }

    /// Calls of [`LogState::wake_all`].
    pub fn wakes(&self) -> u64 {
        self.lock().wakes
    }

    /// A copy of the index, without open files.
    pub fn index(&self) -> LogIndex {
        self.lock().index.copy()
    }

    /// Bytes of all segments up to the end of the last durable group.
    pub fn bytes(&self) -> u64 {
        self.lock().index.bytes()
    }

    /// The writer has started a segment.
    pub fn enter(&self, first_seq: Seq, file: &Arc<File>) {
        let index = &mut self.lock().index;
        index.add_segment(first_seq);
        index.share(index.segments() - 1, file);
    }

    /// The writer has replaced the file of the last segment, which was empty.
    pub fn replace(&self, file: &Arc<File>) {
        let index = &mut self.lock().index;
        index.share(index.segments() - 1, file);
    }

    /// The writer has synced a group.
    pub fn advance(&self, first_seq: Seq, last_seq: Seq, frame_bytes: u64) {
        let mut state = self.lock();
        state.index.add_group(first_seq, frame_bytes);
        self.durable.store(last_seq, Ordering::Release);
        let waiting = state.waiting > 0;
        drop(state);
        if waiting {
            self.advanced.notify_all();
        }
    }

    /// The start of a group at or before the record with this seq.
    pub fn locate(&self, seq: Seq) -> Option<GroupOffset> {
        self.lock().index.locate(seq)
    }

    /// The end of a segment's last durable group, and whether another segment follows.
    pub fn extent(&self, segment: usize) -> (u64, bool) {
        let index = &self.lock().index;
        (index.end(segment), segment + 1 < index.segments())
    }

    /// Path of a segment.
    pub fn path(&self, segment: usize) -> PathBuf {
        segment::path(&self.journal, self.lock().index.first_seq(segment))
    }

    /// A segment's open file, shared with its other users.
    pub fn file(&self, segment: usize) -> io::Result<Arc<File>> {
        if let Some(file) = self.lock().index.file(segment) {
            return Ok(file);
        }
        let file = Arc::new(File::open(self.path(segment))?);
        self.lock().index.share(segment, &file);
        Ok(file)
    }

    /// A segment's file for reading by location: the last `FILES_CACHED_MAX` stay open.
    pub fn cached_file(&self, segment: usize) -> io::Result<Arc<File>> {
        if let Some(file) = self.lock().index.file(segment) {
            return Ok(file);
        }
        let file = self.file(segment)?;
        let mut state = self.lock();
        if state.cached_files.len() >= FILES_CACHED_MAX {
            state.cached_files.pop_front();
        }
        state.cached_files.push_back(Arc::clone(&file));
        Ok(file)
    }

    /// Whether all bytes up to `end` of a segment, counted from 0, can be read.
    pub fn contains(&self, segment: usize, end: u64) -> bool {
        self.lock().index.contains(segment, end)
    }

    /// The state is consistent after every step, so a panic elsewhere does not invalidate it.
    fn lock(&self) -> MutexGuard<'_, DurablePosition> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Reading what is durable, beside the writer and from any thread.
//!
//! Owns the durable position that writer and readers share, and the waiting for it.
//! Promises that an append pays for a lock and nothing else while nobody waits, and that reading
//! by place keeps a bounded number of files open.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::audit::Digest;
use crate::journal::error::JournalError;
use crate::journal::format::segment;
use crate::journal::read::follower::Follower;
use crate::journal::read::index::{GroupOffset, LogIndex};
use crate::journal::read::location;
use crate::journal::read::location::{Location, LocationError};
use crate::record::{Record, Seq};

/// Files that reading by place keeps open: 8 GiB of the largest segments. A page of an event's history
/// leads all over the log, and to open a file costs more than to read a record of it.
const FILES_CACHED_MAX: usize = 128;

/// Reads the log as far as it is durable. A clone is cheap.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<LogState>,
    /// The last [`Reader::wake_all`] that this reader took notice of.
    wakes_seen: AtomicU64,
}

/// What the writer tells readers.
#[derive(Debug)]
pub struct LogState {
    journal: PathBuf,
    log: Uuid,
    /// Written under the lock of `state`, after the index; readable without it.
    durable: AtomicU64,
    state: Mutex<DurablePosition>,
    advanced: Condvar,
}

#[derive(Debug)]
struct DurablePosition {
    index: LogIndex,
    /// Files that were opened to read by place, oldest first.
    cached_files: VecDeque<Arc<File>>,
    /// Readers that wait now; without any, an append wakes nobody.
    waiting: usize,
    /// How often all were woken.
    wakes: u64,
}

impl Reader {
    pub fn new(shared: Arc<LogState>) -> Self {
        let wakes_seen = AtomicU64::new(shared.lock().wakes);
        Self { shared, wakes_seen }
    }

    /// Seq of the last durable record, 0 in an empty log.
    #[must_use]
    pub fn durable(&self) -> Seq {
        self.shared.durable()
    }

    /// Blocks until [`Reader::durable`] is greater than `after`, until the timeout, or until
    /// somebody calls [`Reader::wake_all`]; returns what is durable then.
    ///
    /// A wake is not lost on a reader that is not waiting at that moment: its next wait returns
    /// at once. For that, each waiting thread has a clone of its own.
    pub fn wait_past(&self, after: Seq, timeout: Duration) -> Seq {
        if self.durable() > after {
            return self.durable();
        }
        // A timeout that no clock can express is none.
        let deadline = Instant::now().checked_add(timeout);
        let seen = self.wakes_seen.load(Ordering::Relaxed);
        let mut state = self.shared.lock();
        state.waiting += 1;
        while self.durable() <= after && state.wakes == seen {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            let advanced = &self.shared.advanced;
            state = match left {
                Some(left) => {
                    let waited = advanced.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => advanced.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.waiting -= 1;
        self.wakes_seen.store(state.wakes, Ordering::Relaxed);
        self.durable()
    }

    /// The chain after the last record of a group.
    ///
    /// # Errors
    /// [`JournalError`] when the log cannot be read there.
    pub fn chain_after(&self, seq: Seq) -> Result<Digest, JournalError> {
        let Some(before) = seq.checked_sub(1) else { return Ok(Digest::default()) };
        let mut follower = self.follow(before);
        follower.next_located(1)?;
        Ok(*follower.chain())
    }

    /// Bytes of the log's segments up to the end of the last durable group.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.lock().index.bytes()
    }

    pub fn index(&self) -> LogIndex {
        self.shared.lock().index.copy()
    }

    pub fn journal(&self) -> &Path {
        &self.shared.journal
    }

    pub fn log(&self) -> Uuid {
        self.shared.log
    }

    /// Ends the wait of every reader of this journal, once; for shutdown.
    pub fn wake_all(&self) {
        self.shared.lock().wakes += 1;
        self.shared.advanced.notify_all();
    }

    /// Follows the log from the record after `after`. The place is looked up, not searched for:
    /// reading begins at most about a MiB before it.
    #[must_use]
    pub fn follow(&self, after: Seq) -> Follower {
        Follower::new(Arc::clone(&self.shared), after)
    }

    /// The record in a place, without the rest of its group; everything that is read is checked.
    ///
    /// # Errors
    /// [`LocationError::OutsideLog`]: no record of this log lies there. [`LocationError::Journal`]: the file
    /// was damaged since it was opened, or cannot be read.
    pub fn read_at(&self, location: &Location) -> Result<Record, LocationError> {
        let mut records = self.read_all_at(std::slice::from_ref(location))?;
        Ok(records.pop().expect("a place has a record"))
    }

    /// The records in several places, in their order; those that lie close to one another, and
    /// ascend, are read together.
    ///
    /// # Errors
    /// As [`Reader::read_at`], of any of them.
    pub fn read_all_at(&self, locations: &[Location]) -> Result<Vec<Record>, LocationError> {
        location::records(&self.shared, locations)
    }
}

impl Clone for Reader {
    fn clone(&self) -> Self {
        let wakes_seen = AtomicU64::new(self.wakes_seen.load(Ordering::Relaxed));
        Self { shared: Arc::clone(&self.shared), wakes_seen }
    }
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

    pub fn durable(&self) -> Seq {
        self.durable.load(Ordering::Acquire)
    }

    /// The writer has begun a segment.
    pub fn enter(&self, first_seq: Seq, file: &Arc<File>) {
        let index = &mut self.lock().index;
        index.add_segment(first_seq);
        index.share(index.segments() - 1, file);
    }

    /// The writer has put another file in the place of the last segment, which was empty.
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

    /// Where to begin to read for the record with this seq.
    pub fn locate(&self, seq: Seq) -> Option<GroupOffset> {
        self.lock().index.locate(seq)
    }

    /// How far a segment can be read, and whether another comes after it.
    pub fn extent(&self, segment: usize) -> (u64, bool) {
        let index = &self.lock().index;
        (index.end(segment), segment + 1 < index.segments())
    }

    /// Path of a segment.
    pub fn path(&self, segment: usize) -> PathBuf {
        segment::path(&self.journal, self.lock().index.first_seq(segment))
    }

    /// A segment's file, shared with whoever has it open.
    pub fn file(&self, segment: usize) -> io::Result<Arc<File>> {
        if let Some(file) = self.lock().index.file(segment) {
            return Ok(file);
        }
        let file = Arc::new(File::open(self.path(segment))?);
        self.lock().index.share(segment, &file);
        Ok(file)
    }

    /// A segment's file for whoever reads here and there: it stays open for a while.
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

    /// The state is whole after every step, so that a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, DurablePosition> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

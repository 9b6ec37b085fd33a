//! Reads durable records from any thread while the writer appends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::audit::Digest;
use crate::journal::error::JournalError;
use crate::journal::read::durable::LogState;
use crate::journal::read::follower::Follower;
use crate::journal::read::location::{Location, LocationError, read_records};
use crate::record::{Record, Seq};

/// Reads the log up to the durable position. Cloning is cheap.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<LogState>,
    /// Calls of [`Reader::wake_all`] that this reader has seen.
    wakes_seen: AtomicU64,
}

impl Reader {
    pub fn new(shared: Arc<LogState>) -> Self {
        let wakes_seen = AtomicU64::new(shared.wakes());
        Self { shared, wakes_seen }
    }

    /// Seq of the last durable record, 0 in an empty log.
    #[must_use]
    pub fn durable(&self) -> Seq {
        self.shared.durable()
    }

    /// Blocks until [`Reader::durable`] is greater than `after`, until the timeout, or until
    /// [`Reader::wake_all`] is called; returns the durable seq at that time.
    ///
    /// If `wake_all` is called while a reader is not waiting, its next wait returns at once. Each
    /// waiting thread therefore needs its own clone.
    pub fn wait_past(&self, after: Seq, timeout: Duration) -> Seq {
        if self.durable() > after {
            return self.durable();
        }
        let wakes_seen = self.wakes_seen.load(Ordering::Relaxed);
        let wakes = self.shared.wait_past(after, timeout, wakes_seen);
        self.wakes_seen.store(wakes, Ordering::Relaxed);
        self.durable()
    }

    /// The chain after `seq`, which must be the last record of a group.
    ///
    /// # Errors
    /// [`JournalError`] if the log cannot be read there.
    pub fn chain_after(&self, seq: Seq) -> Result<Digest, JournalError> {
        let Some(before) = seq.checked_sub(1) else { return Ok(Digest::default()) };
        let mut follower = self.follow(before);
        follower.next_located(1)?;
        Ok(*follower.chain())
    }

    /// Bytes of the log's segments up to the end of the last durable group.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.bytes()
    }

    /// The state of the log that the writer publishes.
    pub fn state(&self) -> &LogState {
        &self.shared
    }

    /// Ends one wait of every reader of this journal; for shutdown.
    pub fn wake_all(&self) {
        self.shared.wake_all();
    }

    /// Follows the log from the record after `after`. The index is used to find it, so at most
    /// about a MiB before it is read.
    #[must_use]
    pub fn follow(&self, after: Seq) -> Follower {
        Follower::new(Arc::clone(&self.shared), after)
    }

    /// Reads and checks the record at a location, without the rest of its group.
    ///
    /// # Errors
    /// [`LocationError::OutsideLog`]: the log does not reach that far. [`LocationError::Journal`]:
    /// the file was damaged since the open, or cannot be read.
    pub fn read_at(&self, location: &Location) -> Result<Record, LocationError> {
        let mut records = self.read_all_at(std::slice::from_ref(location))?;
        Ok(records.pop().expect("one record a location"))
    }

    /// Reads the records at several locations, in the given order. Neighbours in the file are read
    /// together if the locations ascend.
    ///
    /// # Errors
    /// Those of [`Reader::read_at`], for the first location that fails.
    pub fn read_all_at(&self, locations: &[Location]) -> Result<Vec<Record>, LocationError> {
        read_records(&self.shared, locations)
    }
}

impl Clone for Reader {
    fn clone(&self) -> Self {
        let wakes_seen = AtomicU64::new(self.wakes_seen.load(Ordering::Relaxed));
        Self { shared: Arc::clone(&self.shared), wakes_seen }
    }
}

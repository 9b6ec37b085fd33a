//! The order of one process: a queue and one thread that appends.
//!
//! It takes one submission, drains what is already there, decides, and commits the group; while
//! it syncs the next group collects. There is no timer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::appender::Appender;
use super::ids::RecentIds;
use super::queue::{Queue, queue};
use super::{Order, ProposeError, Submission, Ticket};
use crate::decide::{Limits, State};
use crate::journal::AppendError;
use crate::record::{Record, Seq};

/// Where groups become durable.
pub trait Log: Send + 'static {
    /// Returns once the group is on stable storage.
    ///
    /// # Errors
    /// [`AppendError`]: whether anything may have been stored.
    fn append(&mut self, records: &[Arc<Record>]) -> Result<(), AppendError>;

    /// Called once, after the last group.
    ///
    /// # Errors
    /// The failure as a sentence.
    fn close(self) -> Result<(), String>;
}

/// Who is told of every durable group, in order, before it is acknowledged.
pub trait Observer: Send + 'static {
    /// Must not block: the next group waits for it.
    fn committed(&mut self, group: &[Arc<Record>]);

    /// The groups so far are acknowledged too.
    fn acknowledged(&mut self);

    /// The log failed for good.
    fn failed(&mut self, error: &AppendError);
}

/// Where ids are found that are not recent.
pub trait RestoredIds: Send + 'static {
    /// Every record up to here can be found by its id.
    fn applied(&self) -> Seq;

    /// The record of an old id.
    ///
    /// # Errors
    /// [`ProposeError::IdsNotReady`] when that cannot be told now.
    fn find_old(&self, id: &Uuid) -> Result<Option<Arc<Record>>, ProposeError>;

    /// The record at a seq that is durable.
    ///
    /// # Errors
    /// [`ProposeError::IdsNotReady`] when it cannot be read.
    fn at(&mut self, seq: Seq) -> Result<Arc<Record>, ProposeError>;
}

/// Settings of the local order.
#[derive(Clone, Copy, Debug)]
pub struct LocalOptions {
    /// Bytes that may wait in the queue.
    pub queue_bytes_max: usize,
    /// Bounds of the fold.
    pub limits: Limits,
    /// Ids that are kept in memory because the projection does not hold them yet.
    pub projection_lag_max: u64,
}

/// The order of one process.
#[derive(Debug)]
pub struct Local {
    queue: Queue,
    failed: Arc<AtomicBool>,
}

/// Resolves when the appending thread has drained its queue and closed the log.
pub type Stopped = oneshot::Receiver<()>;

impl Local {
    /// Starts the appending thread on a state and the ids (with their seqs, ascending) of the last
    /// records, without a gap; older ones are looked up in `ids`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start<L: Log, O: Observer, I: RestoredIds>(
        log: L,
        state: State,
        recent: VecDeque<(Uuid, Seq)>,
        ids: I,
        observer: O,
        options: LocalOptions,
    ) -> std::io::Result<(Self, Stopped)> {
        let (queue, drain) = queue(options.queue_bytes_max);
        let failed = Arc::new(AtomicBool::new(false));
        let (stopped, on_stopped) = oneshot::channel();
        let trimmed_through = recent.front().map_or(state.last_seq(), |(_, seq)| seq - 1);
        let mut recent_ids = RecentIds::new(trimmed_through, options.projection_lag_max);
        for (id, seq) in recent {
            recent_ids.insert(id, seq);
        }
        let appender = Appender {
            log,
            state,
            recent: recent_ids,
            ids,
            observer,
            limits: options.limits,
            drain,
            failed: failed.clone(),
        };
        thread::Builder::new().name("order".to_owned()).spawn(move || {
            appender.run();
            // Nobody waits any more when the receiver is gone.
            let _ = stopped.send(());
        })?;
        Ok((Self { queue, failed }, on_stopped))
    }

    /// Lets the thread finish what is queued and end.
    pub fn stop(&self) {
        self.queue.stop();
    }

    /// Bytes that wait in the queue.
    #[must_use]
    pub fn queue_bytes(&self) -> usize {
        self.queue.bytes()
    }
}

impl Order for Local {
    fn propose(&self, submission: Submission) -> Result<Ticket, ProposeError> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(ProposeError::StorageFailed);
        }
        self.queue.push(submission)
    }
}

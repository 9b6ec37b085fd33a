//! The local order without its thread: whoever simulates it decides when a turn is taken, and so
//! which proposals share a group.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::decide::{FoldState, Limits};
use crate::order::local::appender::{Append as _, Appender};
use crate::order::local::queue::{Pushed, Queue};
use crate::order::local::recent_ids::RecentIds;
use crate::order::ports::{Log, Observer, RestoredIds};
use crate::order::{ProposeError, Submission, Ticket};

/// Enough for whatever waits for one turn.
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// Queue and appender; dropped, it is a process that died between two turns.
pub struct ManualOrder<L, O, I> {
    queue: Queue,
    failed: Arc<AtomicBool>,
    appender: Box<Appender<L, O, I>>,
}

impl<L: Log, O: Observer, I: RestoredIds> ManualOrder<L, O, I> {
    pub fn new(
        log: L,
        state: FoldState,
        recent: RecentIds,
        ids: I,
        observer: O,
        limits: Limits,
    ) -> Self {
        let failed = Arc::new(AtomicBool::new(false));
        let appender =
            Appender { log, state, recent, ids, observer, limits, failed: failed.clone() };
        Self { queue: Queue::new(QUEUE_BYTES_MAX), failed, appender: Box::new(appender) }
    }

    /// As `Local::propose`.
    pub fn propose(&self, submission: Submission) -> Result<Ticket, ProposeError> {
        if self.has_failed() {
            return Err(ProposeError::StorageFailed);
        }
        self.queue.push(submission)
    }

    /// As `Local::propose_here` where appends are swift.
    pub fn propose_here(&mut self, submission: Submission) -> Result<Ticket, ProposeError> {
        if self.has_failed() {
            return Err(ProposeError::StorageFailed);
        }
        match self.queue.push_or_append(submission, usize::MAX)? {
            Pushed::Queued(ticket) => Ok(ticket),
            Pushed::Permit(turn, queued, ticket) => {
                let submissions = self.appender.append(&turn, Some(queued));
                turn.end(submissions);
                Ok(ticket)
            }
        }
    }

    /// Commits one group of what is queued, if anything is; of few it is all.
    pub fn turn(&mut self) {
        if self.queue.bytes() == 0 {
            return;
        }
        if let Some(turn) = self.queue.wait() {
            let submissions = self.appender.append(&turn, None);
            turn.end(submissions);
        }
    }

    /// Whether the log has failed for good.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Ends as a clean shutdown does.
    pub fn close(mut self) {
        self.queue.stop();
        while let Some(turn) = self.queue.wait() {
            let submissions = self.appender.append(&turn, None);
            turn.end(submissions);
        }
        self.appender.close();
    }
}

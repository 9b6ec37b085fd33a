//! The order of one process: a queue, and one appender.
//!
//! Whoever has the turn takes from the queue, decides, and commits the group; while it syncs the
//! next group collects. There is no timer. The turn is the appending thread's, but a caller that
//! comes alone may append by itself: waking a thread and being woken by it takes about as long as
//! a sync.

pub mod appender;
pub mod group_size;
pub(super) mod inline;
pub mod permit;
pub mod queue;
pub mod queue_state;
pub mod recent_ids;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::yield_now;
use tracing::error;

use crate::decide::{FoldState, Limits};
use crate::order::local::appender::{Append, Appender};
use crate::order::local::inline::append_latency::AppendLatency;
use crate::order::local::inline::arrivals::Arrivals;
use crate::order::local::permit::AppendPermit;
use crate::order::local::queue::{Pushed, Queue, Reserved};
use crate::order::local::queue_state::Queued;
use crate::order::local::recent_ids::RecentIds;
use crate::order::ports::{Log, Observer, RestoredIds};
use crate::order::{Order, ProposeError, Submission, Ticket};

/// Settings of the local order.
#[derive(Clone, Copy, Debug)]
pub struct LocalOptions {
    /// Bytes that may wait in the queue.
    pub queue_bytes_max: usize,
    /// Bounds of the fold.
    pub limits: Limits,
    /// Appends that take less are waited for by a caller that comes alone, on its own thread.
    pub swift: Duration,
}

/// What waking the appending thread and being woken by it may take: a caller's thread that waits
/// longer has better things to do meanwhile.
pub const SWIFT: Duration = Duration::from_micros(500);

/// Bytes that a caller may append by itself: more takes longer than a sync.
const HERE_BYTES_MAX: usize = 64 << 10;

/// The order of one process.
pub struct Local {
    queue: Queue,
    failed: Arc<AtomicBool>,
    pace: Arc<AppendLatency>,
    appender: SharedAppender,
    arrivals: Arrivals,
}

/// Locked by whoever has the turn, so that nobody ever waits for the lock; empty after the end.
type SharedAppender = Arc<Mutex<Option<Box<dyn Append>>>>;

/// The appends of an order, as they are seen from outside.
#[derive(Clone)]
pub struct AppendMonitor {
    pace: Arc<AppendLatency>,
    failed: Arc<AtomicBool>,
    queue: Queue,
}

impl AppendMonitor {
    /// When the append that runs now, if one does, began, since some moment in the past.
    #[must_use]
    pub fn running(&self) -> Option<Duration> {
        self.pace.running()
    }

    /// Refuses everything from now on, as after a failed sync, and whoever waits in line for a
    /// place: an append that hangs frees none.
    pub fn refuse(&self) {
        self.failed.store(true, Ordering::Relaxed);
        self.queue.close();
    }
}

/// Resolves when the appending thread has drained its queue and closed the log.
pub type Stopped = oneshot::Receiver<()>;

impl Local {
    /// Starts the appending thread on a state and the ids of the last records; older ones are
    /// looked up in `ids`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start<L: Log, O: Observer, I: RestoredIds>(
        log: L,
        state: FoldState,
        recent: RecentIds,
        ids: I,
        observer: O,
        options: LocalOptions,
    ) -> std::io::Result<(Self, Stopped)> {
        let queue = Queue::new(options.queue_bytes_max);
        let failed = Arc::new(AtomicBool::new(false));
        let pace = Arc::new(AppendLatency::new(options.swift));
        let (stopped, on_stopped) = oneshot::channel();
        let appender = Appender {
            log,
            state,
            recent,
            ids,
            observer,
            limits: options.limits,
            failed: failed.clone(),
        };
        let appender: SharedAppender = Arc::new(Mutex::new(Some(Box::new(appender))));
        let arrivals = Arrivals::default();
        let order = Self { queue, failed, pace, appender, arrivals };
        let (queue, appender) = (order.queue.clone(), order.appender.clone());
        let pace = order.pace.clone();
        thread::Builder::new().name("order".to_owned()).spawn(move || {
            run(&queue, &appender, &pace);
            // Nobody waits any more when the receiver is gone.
            let _ = stopped.send(());
        })?;
        Ok((order, on_stopped))
    }

    /// A place in the part of the queue for those who wait, if there is one now.
    ///
    /// # Errors
    /// As [`Order::propose`].
    pub fn try_reserve(&self, submission: &Submission) -> Result<Reserved, ProposeError> {
        self.check()?;
        self.queue.try_reserve(submission).map_err(|error| reason(&self.failed, error))
    }

    /// Waits for a place in the queue, in line with whoever else does.
    ///
    /// # Errors
    /// [`ProposeError::Stopping`] when nothing more is taken.
    pub fn reserve(
        &self,
        submission: &Submission,
    ) -> impl Future<Output = Result<Reserved, ProposeError>> + Send + use<> {
        let (reserve, failed) = (self.queue.reserve(submission), self.failed.clone());
        async move { reserve.await.map_err(|error| reason(&failed, error)) }
    }

    /// As [`Order::propose`], in a place that was reserved for this submission.
    ///
    /// # Errors
    /// As [`Order::propose`], but for [`ProposeError::QueueFull`].
    pub fn propose_in(
        &self,
        reserved: Reserved,
        submission: Submission,
    ) -> Result<Ticket, ProposeError> {
        // What was waited for may have failed meanwhile.
        self.check()?;
        self.queue.push_into(reserved, submission).map_err(|error| reason(&self.failed, error))
    }

    /// As [`Order::propose`], but beyond the queue's bound: for a caller that can neither wait nor
    /// tell anybody of a refusal.
    ///
    /// # Errors
    /// As [`Order::propose`], but for [`ProposeError::QueueFull`].
    pub fn propose_beyond(&self, submission: Submission) -> Result<Ticket, ProposeError> {
        self.check()?;
        self.queue.push_beyond(submission).map_err(|error| reason(&self.failed, error))
    }

    /// Whether a small event would find a place in the queue now, or be told why not.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.queue.has_room()
    }

    /// Waits in line until it would.
    ///
    /// # Errors
    /// Any, when nothing more is taken: who proposes is told which.
    pub fn room(&self) -> impl Future<Output = Result<(), ProposeError>> + Send + use<> {
        self.queue.room()
    }

    /// Lets the thread finish what is queued and end.
    pub fn stop(&self) {
        self.queue.stop();
    }

    /// The appends, for whoever watches them.
    #[must_use]
    pub fn appends(&self) -> AppendMonitor {
        let (pace, failed) = (self.pace.clone(), self.failed.clone());
        AppendMonitor { pace, failed, queue: self.queue.clone() }
    }

    /// As [`Order::propose_here`], on a thread that others wait for too: once in a while it lets
    /// them come first.
    ///
    /// # Errors
    /// As [`Order::propose`].
    pub async fn propose_among(&self, submission: Submission) -> Result<Ticket, ProposeError> {
        if !self.queue.is_quiet() {
            return self.propose(submission);
        }
        let arrival = self.arrivals.arrive();
        if arrival.looks() {
            // What this thread has heard of, or can hear of now, comes first.
            yield_now().await;
        }
        if arrival.is_alone() { self.propose_here(submission) } else { self.propose(submission) }
    }

    /// Bytes that wait in the queue, or are kept free for who waits in line.
    #[must_use]
    pub fn queue_bytes(&self) -> usize {
        self.queue.bytes()
    }
}

impl Local {
    /// Whether the next caller that could append by itself looks for others.
    #[cfg(test)]
    pub(super) fn next_looks(&self) -> bool {
        self.arrivals.next_looks()
    }

    fn check(&self) -> Result<(), ProposeError> {
        if self.failed.load(Ordering::Relaxed) { Err(ProposeError::StorageFailed) } else { Ok(()) }
    }
}

impl Drop for Local {
    /// Nobody can propose any more: the thread finishes, closes the log and lets go of it.
    fn drop(&mut self) {
        self.stop();
    }
}

impl Order for Local {
    fn propose(&self, submission: Submission) -> Result<Ticket, ProposeError> {
        self.check()?;
        self.queue.push(submission).map_err(|error| reason(&self.failed, error))
    }

    fn propose_here(&self, submission: Submission) -> Result<Ticket, ProposeError> {
        // Ids may have to be looked up in the log.
        let has_ids = submission.proposal.events.iter().any(|proposed| proposed.event.id.is_some());
        if has_ids || !self.pace.is_swift() || self.failed.load(Ordering::Relaxed) {
            return self.propose(submission);
        }
        let pushed = self.queue.push_or_append(submission, HERE_BYTES_MAX);
        match pushed.map_err(|error| reason(&self.failed, error))? {
            Pushed::Queued(ticket) => Ok(ticket),
            Pushed::Permit(turn, queued, ticket) => {
                append(&self.appender, &self.pace, turn, Some(queued));
                Ok(ticket)
            }
        }
    }
}

/// Why nothing more is taken: a queue that was closed because of a failure knows only that it is.
fn reason(failed: &AtomicBool, error: ProposeError) -> ProposeError {
    match error {
        ProposeError::Stopping if failed.load(Ordering::Relaxed) => ProposeError::StorageFailed,
        error => error,
    }
}

/// The appending thread.
fn run(queue: &Queue, appender: &SharedAppender, pace: &AppendLatency) {
    while let Some(turn) = queue.wait() {
        // There is no turn after one that panicked.
        if catch_unwind(AssertUnwindSafe(|| append(appender, pace, turn, None))).is_err() {
            error!("the appender panicked");
        }
    }
    // One that panicked is dropped as it is: its log is read back by the next open.
    let is_whole = !appender.is_poisoned();
    let appender = appender.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(appender) = appender.filter(|_| is_whole) {
        appender.close();
    }
}

/// Commits one group in one's turn.
fn append(
    appender: &SharedAppender,
    pace: &AppendLatency,
    turn: AppendPermit,
    first: Option<Queued>,
) {
    let submissions = {
        // Nobody has a turn after one that panicked, or after the end.
        let Ok(mut appender) = appender.lock() else { return };
        let Some(appender) = appender.as_mut() else { return };
        match first {
            // What a new file for the log takes is too long for a caller.
            Some(queued) if !appender.has_room(queued.bytes) => return turn.give_back(queued),
            first => pace.time(|| appender.append(&turn, first)),
        }
    };
    turn.end(submissions);
}

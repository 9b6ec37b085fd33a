//! The order of one process: a queue, and one appender.
//!
//! The thread that holds the append permit takes from the queue, decides, and commits the group;
//! while it syncs, the next group collects. There is no timer. Usually the appending thread holds
//! the permit; a submission that comes alone is appended by its caller's thread (`inline`).

pub mod appender;
pub mod group_size;
pub mod inline;
pub mod permit;
pub mod queue;
pub mod queue_state;
pub mod recent_ids;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Either;
use thiserror::Error;
use tracing::error;

use crate::decide::{FoldState, Proposal};
use crate::journal::AppendError;
use crate::order::admission::{Admission, AdmittedBytes};
use crate::order::fail_stop::FailStop;
use crate::order::local::appender::{Append, Appender};
use crate::order::local::inline::append_latency::AppendLatency;
use crate::order::local::inline::arrivals::Arrivals;
use crate::order::local::permit::AppendPermit;
use crate::order::local::queue::Queue;
use crate::order::local::queue_state::QueuedSubmission;
use crate::order::local::recent_ids::RecentIds;
use crate::order::ports::{Log, Observer, Ports, RestoredIds};
use crate::order::submission::{ProposeError, Submission, Ticket};
use crate::order::{Order, Proposing};
use crate::record::{Record, Timestamp};

/// What an order of this process is started with.
#[derive(Debug)]
pub struct LocalOptions {
    /// The time of the records, read when a proposal is decided.
    pub clock: fn() -> Timestamp,
    /// Appended before anything else is proposed.
    pub opening: Option<Proposal>,
    /// A submission that comes alone is appended by its caller's thread while appends typically
    /// take less than this.
    pub inline_append_max: Duration,
}

/// An order that was started, and the records of its opening.
pub struct Started {
    /// The order.
    pub order: Local,
    /// What [`LocalOptions::opening`] became.
    pub opening: Vec<Arc<Record>>,
}

/// Why an order was not started.
#[derive(Debug, Error)]
pub enum OrderStartError {
    /// The opening could not be appended.
    #[error("the opening cannot be appended: {0}")]
    Append(#[source] AppendError),
    /// The appending thread could not be started.
    #[error("the appending thread cannot be started: {0}")]
    Thread(#[source] io::Error),
}

/// The order of one process.
pub struct Local {
    queue: Queue,
    appender: SharedAppender,
    latency: Arc<AppendLatency>,
    arrivals: Arrivals,
}

/// Locked by the holder of the append permit, so nobody ever waits for the lock; empty after the
/// end.
type SharedAppender = Arc<Mutex<Option<Box<dyn Append>>>>;

impl Local {
    /// Appends the opening, then starts the appending thread.
    ///
    /// `state` is the fold of the log so far and `recent` has the ids of its last records; older
    /// ids are looked up through the ports.
    ///
    /// # Errors
    /// [`OrderStartError`].
    pub fn start<L: Log, O: Observer, I: RestoredIds>(
        ports: Ports<L, O, I>,
        state: FoldState,
        recent: RecentIds,
        fail_stop: &FailStop,
        options: LocalOptions,
    ) -> Result<Started, OrderStartError> {
        let LocalOptions { clock, opening, inline_append_max } = options;
        let mut appender = Appender { ports, state, recent, clock, fail_stop: fail_stop.clone() };
        let opening = appender.open(opening).map_err(OrderStartError::Append)?;
        let order = Self {
            queue: Queue::new(fail_stop.admission().clone()),
            appender: Arc::new(Mutex::new(Some(Box::new(appender)))),
            latency: Arc::new(AppendLatency::new(inline_append_max)),
            arrivals: Arrivals::default(),
        };
        let (queue, appender) = (order.queue.clone(), order.appender.clone());
        let (latency, fail_stop) = (order.latency.clone(), fail_stop.clone());
        let run = move || {
            let panicked = run(&queue, &appender, &latency).is_err();
            fail_stop.appender_ended(panicked);
        };
        let thread = thread::Builder::new().name("order".to_owned()).spawn(run);
        thread.map_err(OrderStartError::Thread)?;
        Ok(Started { order, opening })
    }
}

#[cfg(test)]
impl Local {
    /// Whether the next caller that could append inline yields first.
    pub(super) fn next_yields(&self) -> bool {
        self.arrivals.next_yields()
    }
}

impl Order for Local {
    fn admission(&self) -> &Admission {
        self.queue.admission()
    }

    fn queue(
        &self,
        admitted: AdmittedBytes,
        submission: Submission,
    ) -> Result<Ticket, ProposeError> {
        self.queue.push(admitted, submission)
    }

    fn propose_waiting(&self, submission: Submission) -> Proposing<'_> {
        // In a burst nothing is worth an allocation.
        if !self.queue.is_quiet() {
            return Either::Left(std::future::ready(self.propose(submission)));
        }
        Either::Right(self.propose_alone(submission).boxed())
    }

    fn append_began(&self) -> Option<Duration> {
        self.latency.began()
    }

    fn stop(&self) {
        self.queue.stop();
    }
}

impl Drop for Local {
    /// Nobody can propose any more: the thread appends what is queued and closes the log.
    fn drop(&mut self) {
        self.stop();
    }
}

/// A thread that held the append permit has panicked.
struct Panicked;

/// The appending thread.
fn run(queue: &Queue, appender: &SharedAppender, latency: &AppendLatency) -> Result<(), Panicked> {
    while let Some(permit) = queue.wait() {
        // A permit that a panic dropped is the last one.
        if catch_unwind(AssertUnwindSafe(|| append(appender, latency, permit, None))).is_err() {
            error!("the appender panicked");
        }
    }
    let panicked = appender.is_poisoned();
    let appender = appender.lock().unwrap_or_else(PoisonError::into_inner).take();
    if panicked {
        // Dropped as it is: the next open reads its log back.
        return Err(Panicked);
    }
    if let Some(appender) = appender {
        appender.close();
    }
    Ok(())
}

/// Commits one group under a permit.
fn append(
    appender: &SharedAppender,
    latency: &AppendLatency,
    permit: AppendPermit,
    first: Option<QueuedSubmission>,
) {
    let submissions = {
        // There is no permit after a panic, or after the end.
        let Ok(mut appender) = appender.lock() else { return };
        let Some(appender) = appender.as_mut() else { return };
        match first {
            // A new file of the log takes too long for a caller's thread.
            Some(queued) if !appender.has_room(queued.bytes) => return permit.give_back(queued),
            first => latency.measure(|| appender.append(&permit, first)),
        }
    };
    permit.end(submissions);
}

//! The seam: proposals into one order, groups, acknowledgements.
//!
//! Owns the queue and the one appender.
//! Promises that what it acknowledges is durable, and that nobody is told of a record before.
//! Knows nothing of HTTP.

mod local;
mod ports;
#[cfg(test)]
mod testing;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use thiserror::Error;
use tokio::sync::oneshot;
use uuid::Uuid;

pub(crate) use local::queue::EVENT_OVERHEAD_BYTES;
pub use local::queue::Reserved;
pub use local::recent_ids::RecentIds;
pub use local::{AppendMonitor, Local, LocalOptions, SWIFT, Stopped};
pub use ports::{Log, Observer, RestoredIds};
#[cfg(test)]
pub use testing::manual::ManualOrder;

use crate::decide::{Proposal, Rejection, Verdict};
use crate::record::{Record, Seq};

/// Brings proposals into one order and makes them durable.
///
/// An implementer owes:
///
/// - Proposals are decided one after the other by [`crate::decide::FoldState::decide`], each wholly or
///   not at all; the order of two proposals of which one was answered before the other was made is
///   the order in which they were made.
/// - `Ok` is answered only when every record of the verdict is on stable storage, and after the
///   observers that the implementation serves were told of it; they are told in seq order, once,
///   and never of a record that is not durable.
/// - [`ProposeError`] tells the truth about storage: [`ProposeError::outcome`] is
///   [`Outcome::NotStored`] only when no record of the proposal is, or ever will be, in the log.
/// - After [`Outcome::Unknown`] a retry with the same ids, here or after a restart, answers the
///   original records or appends them once.
/// - After a failed sync nothing is acknowledged any more.
/// - [`Order::propose`] never blocks the caller: a full queue is refused at once.
pub trait Order: Send + Sync {
    /// Queues a proposal.
    ///
    /// # Errors
    /// [`ProposeError`] when it is refused at once; later refusals come through the ticket.
    fn propose(&self, submission: Submission) -> Result<Ticket, ProposeError>;

    /// As [`Order::propose`], for a caller that would wait anyhow: its thread may be held as long
    /// as storage usually takes, under a millisecond, if the answer is there sooner for it.
    ///
    /// # Errors
    /// As [`Order::propose`].
    fn propose_here(&self, submission: Submission) -> Result<Ticket, ProposeError> {
        self.propose(submission)
    }
}

/// A proposal, with what was looked up for it on the way.
#[derive(Debug)]
pub struct Submission {
    /// What to append.
    pub proposal: Proposal,
    /// Durable records that the proposal's ids belong to, by id, as far as they were found.
    pub known: HashMap<Uuid, Arc<Record>>,
    /// How far that was looked for.
    pub looked_up: LookedUp,
}

/// Up to which records a look-up would have found an id; 0 where nothing was looked up.
#[derive(Clone, Copy, Debug, Default)]
pub struct LookedUp {
    /// An id that names its place: by reading the log there.
    pub named: Seq,
    /// Any other id: in the projection.
    pub others: Seq,
}

impl Submission {
    /// A proposal for which no id had to be looked up.
    #[must_use]
    pub fn new(proposal: Proposal) -> Self {
        Self { proposal, known: HashMap::new(), looked_up: LookedUp::default() }
    }
}

/// The answer to a proposal, when it comes.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Result<Verdict, ProposeError>>);

/// What a failure says about storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing of the proposal is in the log.
    NotStored,
    /// It may be in the log; a retry with the same ids is safe.
    Unknown,
}

/// Why a proposal was not acknowledged.
#[derive(Clone, Debug, Error)]
pub enum ProposeError {
    /// The projection cannot yet say whether an id was used.
    #[error("older ids cannot be looked up yet")]
    IdsNotReady,
    /// The log's disk is full.
    #[error("the disk is full")]
    NoSpace,
    /// The projection is too far behind the log.
    #[error("the projection is {records} records behind the log")]
    ProjectionLag {
        /// How far.
        records: u64,
    },
    /// The queue holds as many bytes as it may.
    #[error("the queue is full")]
    QueueFull,
    /// The fold refused it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Broker is shutting down.
    #[error("shutting down")]
    Stopping,
    /// The log failed before; nothing is appended any more.
    #[error("the log's storage failed")]
    StorageFailed,
    /// The log failed on this very group.
    #[error("the log's storage failed while this was written")]
    Unknown,
}

impl ProposeError {
    /// Whether the proposal may be in the log.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::IdsNotReady
            | Self::NoSpace
            | Self::ProjectionLag { .. }
            | Self::QueueFull
            | Self::Rejected(_)
            | Self::Stopping
            | Self::StorageFailed => Outcome::NotStored,
            Self::Unknown => Outcome::Unknown,
        }
    }
}

impl Ticket {
    pub(crate) fn new() -> (oneshot::Sender<Result<Verdict, ProposeError>>, Self) {
        let (answer, ticket) = oneshot::channel();
        (answer, Self(ticket))
    }

    /// Blocks the thread until the answer is there.
    ///
    /// # Errors
    /// [`ProposeError`].
    #[cfg(test)]
    pub fn wait(self) -> Result<Verdict, ProposeError> {
        self.0.blocking_recv().unwrap_or(Err(ProposeError::Unknown))
    }
}

impl Future for Ticket {
    type Output = Result<Verdict, ProposeError>;

    /// An appender that died without an answer leaves the outcome unknown.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(ProposeError::Unknown)))
    }
}

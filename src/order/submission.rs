//! A proposal on its way into the order, and its answer.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use thiserror::Error;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::decide::{Proposal, Rejection, Verdict};
use crate::record::{Record, Seq};

/// A proposal, with the records that were looked up for its ids.
#[derive(Debug)]
pub struct Submission {
    /// What to append.
    pub proposal: Proposal,
    /// Durable records that the proposal's ids belong to, by id, as far as they were found.
    pub known: HashMap<Uuid, Arc<Record>>,
    /// How far the look-up reached.
    pub looked_up: LookedUp,
}

/// The last seq that a look-up of ids covered; 0 where nothing was looked up.
#[derive(Clone, Copy, Debug, Default)]
pub struct LookedUp {
    /// Ids that name their seq, which are read in the log.
    pub named: Seq,
    /// All other ids, which are read in the projection.
    pub others: Seq,
}

/// The pending answer to a proposal.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Result<Verdict, ProposeError>>);

/// Whether a proposal that failed may be in the log.
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
    /// The fold rejected it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Broker is shutting down.
    #[error("shutting down")]
    Stopping,
    /// The log failed earlier, and nothing is appended any more.
    #[error("the log's storage failed")]
    StorageFailed,
    /// The log failed while it appended this proposal's group.
    #[error("the log's storage failed while this was written")]
    Unknown,
}

impl Submission {
    /// A proposal for which no id had to be looked up.
    #[must_use]
    pub fn new(proposal: Proposal) -> Self {
        Self { proposal, known: HashMap::new(), looked_up: LookedUp::default() }
    }
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

    /// Blocks the thread until the proposal is answered.
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

    /// An appender that panicked leaves the outcome unknown.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(ProposeError::Unknown)))
    }
}

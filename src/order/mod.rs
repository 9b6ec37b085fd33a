//! The seam between proposals and the log: one order, groups, acknowledgements.
//!
//! **Owns** [`Order`], the contract that every engine keeps; how proposals are admitted; and the
//! one switch that ends acknowledging for good.
//!
//! **Promises** that what is acknowledged is durable, and that no record is shown before it is.
//!
//! **Does not** know HTTP, subscriptions, or who proposes. What an engine needs from outside is in
//! `ports`; `local` is the order of one process.

mod admission;
mod fail_stop;
mod local;
mod ports;
mod submission;
#[cfg(test)]
mod testing;

use std::future::{Ready, ready};
use std::time::Duration;

use futures_util::future::{BoxFuture, Either};

pub(crate) use admission::EVENT_OVERHEAD_BYTES;
pub use admission::{Admission, AdmittedBytes, Reservation};
pub use fail_stop::{FailStop, Stage};
pub use local::inline::INLINE_APPEND_MAX;
pub use local::recent_ids::RecentIds;
pub use local::{Local, LocalOptions, OrderStartError, Started};
pub use ports::{Log, Observer, Ports, RestoredIds};
pub use submission::{LookedUp, Outcome, ProposeError, Submission, Ticket};
#[cfg(test)]
pub use testing::manual::ManualOrder;

/// Brings proposals into one order and makes them durable.
///
/// An implementer owes:
///
/// - Proposals are decided one after the other by [`crate::decide::FoldState::decide`], each wholly
///   or not at all. If one was answered before another was made, it precedes it in the order.
/// - Time, limits and the records of opens reach the fold through the order, and nothing is appended
///   to the log in any other way. So every process that folds the same order makes the same bytes.
/// - `Ok` is answered only when every record of the verdict is on stable storage, and after the
///   order's observers received it. Observers receive every durable record once, in seq order,
///   and no other.
/// - [`ProposeError`] tells the truth about storage: [`ProposeError::outcome`] is
///   [`Outcome::NotStored`] only if no record of the proposal is, or ever will be, in the log.
/// - After [`Outcome::Unknown`] a retry with the same ids, here or after a restart, answers the
///   original records or appends them once.
/// - After a failed sync nothing is acknowledged any more.
/// - No method blocks the caller on storage, except as [`Order::propose_waiting`] says.
pub trait Order: Send + Sync {
    /// The bound on bytes under way; also where a caller waits for room.
    fn admission(&self) -> &Admission;

    /// Queues a submission that was admitted, and takes over its bytes, also when it fails.
    ///
    /// # Errors
    /// [`ProposeError`] when it is refused at once; later refusals come through the ticket.
    fn queue(
        &self,
        admitted: AdmittedBytes,
        submission: Submission,
    ) -> Result<Ticket, ProposeError>;

    /// Queues a submission if it is admitted now: a full queue is refused at once.
    ///
    /// # Errors
    /// [`ProposeError`] when it is refused at once; later refusals come through the ticket.
    fn propose(&self, submission: Submission) -> Result<Ticket, ProposeError> {
        let admitted = self.admission().admit(&submission)?;
        self.queue(admitted, submission)
    }

    /// As [`Order::propose`], for a caller whose thread has nothing to do until the answer: an
    /// engine may use it for as long as an append usually takes, less than a millisecond.
    fn propose_waiting(&self, submission: Submission) -> Proposing<'_> {
        Either::Left(ready(self.propose(submission)))
    }

    /// When the running append began, since some moment in the past; none when none runs.
    fn append_began(&self) -> Option<Duration>;

    /// Appends what is queued, closes the log, and refuses everything else.
    fn stop(&self);
}

/// Queues a submission, perhaps at once; see [`Order::propose_waiting`].
pub type Proposing<'a> =
    Either<Ready<Result<Ticket, ProposeError>>, BoxFuture<'a, Result<Ticket, ProposeError>>>;

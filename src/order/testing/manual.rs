//! The local order without its thread: a simulation decides when a group is appended, and so which
//! proposals share it.

use std::sync::Arc;

use crate::decide::FoldState;
use crate::decide::Proposal;
use crate::journal::AppendError;
use crate::order::admission::Admission;
use crate::order::fail_stop::FailStop;
use crate::order::local::appender::{Append as _, Appender};
use crate::order::local::queue::{Pushed, Queue};
use crate::order::local::recent_ids::RecentIds;
use crate::order::ports::{Log, Observer, Ports, RestoredIds};
use crate::order::submission::{ProposeError, Submission, Ticket};
use crate::record::{Record, Timestamp};

/// Enough for the proposals of one group.
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// Queue and appender. Dropping it is the death of a process between two appends.
pub struct ManualOrder<L, O, I> {
    queue: Queue,
    fail_stop: FailStop,
    appender: Box<Appender<L, O, I>>,
}

impl<L: Log, O: Observer, I: RestoredIds> ManualOrder<L, O, I> {
    /// As `Local::start`; also returns the records of the opening.
    ///
    /// # Errors
    /// [`AppendError`] of the opening.
    pub fn start(
        ports: Ports<L, O, I>,
        state: FoldState,
        recent: RecentIds,
        opening: Proposal,
    ) -> Result<(Self, Vec<Arc<Record>>), AppendError> {
        let fail_stop = FailStop::new(Admission::new(QUEUE_BYTES_MAX));
        let queue = Queue::new(fail_stop.admission().clone());
        let clock = Timestamp::now;
        let mut appender =
            Box::new(Appender { ports, state, recent, clock, fail_stop: fail_stop.clone() });
        let opening = appender.open(Some(opening))?;
        Ok((Self { queue, fail_stop, appender }, opening))
    }

    /// As `Local::propose`.
    pub fn propose(&self, submission: Submission) -> Result<Ticket, ProposeError> {
        let admitted = self.queue.admission().admit(&submission)?;
        self.queue.push(admitted, submission)
    }

    /// As `Local::propose_inline` while appends are short.
    pub fn propose_inline(&mut self, submission: Submission) -> Result<Ticket, ProposeError> {
        let admitted = self.queue.admission().admit(&submission)?;
        match self.queue.push_or_append(admitted, submission, usize::MAX)? {
            Pushed::Queued(ticket) => Ok(ticket),
            Pushed::Permit(permit, queued, ticket) => {
                let submissions = self.appender.append(&permit, Some(queued));
                permit.end(submissions);
                Ok(ticket)
            }
        }
    }

    /// Commits one group of what is queued, if anything is; a few submissions are all in it.
    pub fn append(&mut self) {
        if self.queue.admission().bytes() == 0 {
            return;
        }
        if let Some(permit) = self.queue.wait() {
            let submissions = self.appender.append(&permit, None);
            permit.end(submissions);
        }
    }

    /// Whether the log has failed for good.
    pub fn has_failed(&self) -> bool {
        self.fail_stop.is_refusing()
    }

    /// Ends as a clean shutdown does.
    pub fn close(mut self) {
        self.queue.stop();
        while let Some(permit) = self.queue.wait() {
            let submissions = self.appender.append(&permit, None);
            permit.end(submissions);
        }
        self.appender.close();
    }
}

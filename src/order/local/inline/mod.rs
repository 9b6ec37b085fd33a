//! Appends a submission that comes alone on its caller's thread.
//!
//! Waking the appending thread and being woken by it takes about as long as a sync, which would
//! nearly double the time of a lone insert.

pub mod append_latency;
pub mod arrivals;

use std::time::Duration;

use tokio::task::yield_now;

use crate::order::Order as _;
use crate::order::local::queue::Pushed;
use crate::order::local::{Local, append};
use crate::order::submission::{ProposeError, Submission, Ticket};

/// Two wake-ups of a thread take about this long; a caller's thread that waits longer for the disk
/// could serve others meanwhile.
pub const INLINE_APPEND_MAX: Duration = Duration::from_micros(500);

/// Larger submissions take longer than a sync.
const INLINE_BYTES_MAX: usize = 64 << 10;

impl Local {
    /// Proposes on a thread that serves other callers too: now and then it lets these come first.
    pub(super) async fn propose_alone(
        &self,
        submission: Submission,
    ) -> Result<Ticket, ProposeError> {
        let arrival = self.arrivals.arrive();
        if arrival.yields() {
            yield_now().await;
        }
        if arrival.is_alone() { self.propose_inline(submission) } else { self.propose(submission) }
    }

    /// Proposes, and appends on this thread if the submission comes alone and appends are fast.
    pub(in crate::order) fn propose_inline(
        &self,
        submission: Submission,
    ) -> Result<Ticket, ProposeError> {
        // Ids may have to be looked up in the log.
        let has_ids = submission.proposal.events.iter().any(|proposed| proposed.event.id.is_some());
        if has_ids || !self.latency.is_short() {
            return self.propose(submission);
        }
        let admitted = self.admission().admit(&submission)?;
        match self.queue.push_or_append(admitted, submission, INLINE_BYTES_MAX)? {
            Pushed::Queued(ticket) => Ok(ticket),
            Pushed::Permit(permit, queued, ticket) => {
                append(&self.appender, &self.latency, permit, Some(queued));
                Ok(ticket)
            }
        }
    }
}

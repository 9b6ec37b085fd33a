//! The queue in front of the appender.
//!
//! One thread at a time holds the [`AppendPermit`], and only it takes from the queue. Submissions
//! that are queued meanwhile are found by its successor, so nobody has to be woken for them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use crate::order::admission::{Admission, AdmittedBytes, weigh};
use crate::order::local::permit::AppendPermit;
use crate::order::local::queue_state::{QueuePhase, QueueShared, QueueState, QueuedSubmission};
use crate::order::submission::{ProposeError, Submission, Ticket};

/// The queue; clones share it.
#[derive(Clone, Debug)]
pub struct Queue {
    shared: Arc<QueueShared>,
}

/// The result of [`Queue::push_or_append`].
pub enum Pushed {
    Queued(Ticket),
    /// Nothing was queued and nobody appends, so the caller does.
    Permit(AppendPermit, QueuedSubmission, Ticket),
}

impl Queue {
    pub fn new(admission: Admission) -> Self {
        Self { shared: Arc::new(QueueShared::new(admission)) }
    }

    /// What submissions are admitted by.
    pub fn admission(&self) -> &Admission {
        &self.shared.admission
    }

    /// Queues an admitted submission.
    pub fn push(
        &self,
        admitted: AdmittedBytes,
        submission: Submission,
    ) -> Result<Ticket, ProposeError> {
        let (queued, ticket) = weighed(admitted, submission);
        self.enqueue(self.shared.lock(), queued)?;
        Ok(ticket)
    }

    /// Queues an admitted submission, or gives the caller the append permit for it if it comes
    /// alone, as the one before it did, and weighs at most `bytes_max`.
    pub fn push_or_append(
        &self,
        admitted: AdmittedBytes,
        submission: Submission,
        bytes_max: usize,
    ) -> Result<Pushed, ProposeError> {
        let (queued, ticket) = weighed(admitted, submission);
        let mut state = self.shared.lock();
        let alone = self.is_quiet() && !state.permit_taken && state.queued.is_empty();
        if alone && queued.bytes <= bytes_max && state.phase == QueuePhase::Open {
            state.permit_taken = true;
            let permit = AppendPermit::new(&self.shared, 1);
            return Ok(Pushed::Permit(permit, queued, ticket));
        }
        self.enqueue(state, queued)?;
        Ok(Pushed::Queued(ticket))
    }

    /// Whether the last submission came alone.
    pub fn is_quiet(&self) -> bool {
        self.shared.quiet.load(Ordering::Relaxed)
    }

    /// Sleeps until there is something to append; none once everything is appended and nothing more
    /// will come.
    pub fn wait(&self) -> Option<AppendPermit> {
        let mut state = self.shared.lock();
        loop {
            match state.phase {
                QueuePhase::Dead => return None,
                QueuePhase::Stopping if state.queued.is_empty() && !state.permit_taken => {
                    state.phase = QueuePhase::Dead;
                    return None;
                }
                QueuePhase::Open | QueuePhase::Stopping => {}
            }
            if !state.permit_taken && !state.queued.is_empty() {
                state.permit_taken = true;
                let group_max = state.in_flight_peak.next_group_max(state.queued.len());
                return Some(AppendPermit::new(&self.shared, group_max));
            }
            state.thread_sleeps = true;
            state = self.shared.queued.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.thread_sleeps = false;
        }
    }

    /// Submissions that are queued are still appended; later ones are refused.
    pub fn stop(&self) {
        let mut state = self.shared.lock();
        if state.phase == QueuePhase::Open {
            state.phase = QueuePhase::Stopping;
        }
        self.shared.wake(state);
        self.shared.admission.stop();
    }

    fn enqueue(
        &self,
        mut state: MutexGuard<'_, QueueState>,
        queued: QueuedSubmission,
    ) -> Result<(), ProposeError> {
        if state.phase != QueuePhase::Open {
            drop(state);
            self.shared.admission.release(queued.admitted);
            return Err(self.shared.admission.closed());
        }
        state.queued.push_back(queued);
        // The holder of the permit looks here once more before it gives it back.
        if !state.permit_taken {
            self.shared.wake(state);
        }
        Ok(())
    }
}

fn weighed(admitted: AdmittedBytes, submission: Submission) -> (QueuedSubmission, Ticket) {
    let bytes = weigh(&submission);
    let (answer, ticket) = Ticket::new();
    (QueuedSubmission { submission, answer, bytes, admitted }, ticket)
}

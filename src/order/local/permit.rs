//! The right to append: its holder takes from the queue, and nobody else does.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::order::admission::AdmittedBytes;
use crate::order::local::queue_state::{QueuePhase, QueueShared, QueuedSubmission};
use crate::order::submission::ProposeError;

/// The right to append one group. It has to be ended: dropping it means that the appender died.
#[derive(Debug)]
pub struct AppendPermit {
    shared: Arc<QueueShared>,
    /// Maximum number of submissions in the group.
    pub group_max: usize,
    ended: bool,
}

impl AppendPermit {
    pub fn new(shared: &Arc<QueueShared>, group_max: usize) -> Self {
        Self { shared: shared.clone(), group_max, ended: false }
    }

    /// Takes the next submission.
    pub fn take(&self) -> Option<QueuedSubmission> {
        self.shared.lock().queued.pop_front()
    }

    /// Frees the bytes of submissions that have left memory, which is after they left the queue.
    pub fn release(&self, admitted: AdmittedBytes) {
        self.shared.admission.release(admitted);
    }

    /// Puts a submission back in front, for the appending thread.
    pub fn give_back(mut self, queued: QueuedSubmission) {
        self.ended = true;
        let mut state = self.shared.lock();
        state.permit_taken = false;
        self.shared.quiet.store(false, Ordering::Relaxed);
        state.queued.push_front(queued);
        self.shared.wake(state);
    }

    /// Gives the permit back after a group of `submissions`.
    pub fn end(mut self, submissions: usize) {
        self.ended = true;
        let mut state = self.shared.lock();
        state.permit_taken = false;
        let queued = state.queued.len();
        state.in_flight_peak.observe(submissions, queued);
        let quiet = submissions == 1 && queued == 0;
        self.shared.quiet.store(quiet, Ordering::Relaxed);
        if queued > 0 || state.phase == QueuePhase::Stopping {
            self.shared.wake(state);
        }
    }
}

impl Drop for AppendPermit {
    /// Submissions that were being appended learn that their outcome is unknown, queued ones that
    /// they were not stored.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut state = self.shared.lock();
        state.phase = QueuePhase::Dead;
        let abandoned = std::mem::take(&mut state.queued);
        self.shared.admission.fail();
        self.shared.wake(state);
        for QueuedSubmission { answer, admitted, .. } in abandoned {
            self.shared.admission.release(admitted);
            // A caller that has gone away needs no answer.
            let _ = answer.send(Err(ProposeError::StorageFailed));
        }
    }
}

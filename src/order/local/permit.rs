//! The turn to append: who has it takes from the queue, and nobody else does.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::order::ProposeError;
use crate::order::local::queue_state::{HeldBytes, QueuePhase, QueueShared, Queued};

/// The right to append; to be ended, for a turn that is dropped leaves an appender that died.
#[derive(Debug)]
pub struct AppendPermit {
    shared: Arc<QueueShared>,
    /// How many submissions its group is to have at most.
    pub share: usize,
    ended: bool,
}

impl AppendPermit {
    pub fn new(shared: &Arc<QueueShared>, share: usize) -> Self {
        Self { shared: shared.clone(), share, ended: false }
    }

    /// The next submission.
    pub fn take(&self) -> Option<Queued> {
        self.shared.lock().queued.pop_front()
    }

    /// Called when submissions have left memory, not when they left the queue.
    pub fn release(&self, held: HeldBytes) {
        self.shared.release(held);
    }

    /// Puts back what was taken, for the thread to append.
    pub fn give_back(mut self, queued: Queued) {
        self.ended = true;
        let mut state = self.shared.lock();
        state.taken = false;
        self.shared.quiet.store(false, Ordering::Relaxed);
        state.queued.push_front(queued);
        self.shared.wake(state);
    }

    /// Lets the next one append; this turn took in so many submissions.
    pub fn end(mut self, submissions: usize) {
        self.ended = true;
        let mut state = self.shared.lock();
        state.taken = false;
        let came = state.queued.len();
        state.peak.seen(submissions, came);
        let quiet = submissions == 1 && came == 0;
        self.shared.quiet.store(quiet, Ordering::Relaxed);
        if came > 0 || state.phase == QueuePhase::Stopping {
            self.shared.wake(state);
        }
    }
}

impl Drop for AppendPermit {
    /// Whoever was being appended learns that nobody knows what became of it, and whoever was only
    /// queued that it was not stored.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut state = self.shared.lock();
        state.phase = QueuePhase::Dead;
        let abandoned = std::mem::take(&mut state.queued);
        self.shared.wake(state);
        self.shared.close();
        for Queued { answer, held, .. } in abandoned {
            self.shared.release(held);
            // Nobody began to store it; and whoever went away meanwhile needs no answer.
            let _ = answer.send(Err(ProposeError::StorageFailed));
        }
    }
}

//! The state that the queue, its callers and the append permit share.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::decide::Verdict;
use crate::order::admission::{Admission, AdmittedBytes};
use crate::order::local::group_size::InFlightPeak;
use crate::order::submission::{ProposeError, Submission};

/// A queued submission, with the channel for its answer.
#[derive(Debug)]
pub struct QueuedSubmission {
    pub submission: Submission,
    pub answer: oneshot::Sender<Result<Verdict, ProposeError>>,
    pub bytes: usize,
    pub admitted: AdmittedBytes,
}

#[derive(Debug)]
pub struct QueueShared {
    state: Mutex<QueueState>,
    /// Whether the last append was for one submission and no other came meanwhile. Written under
    /// the lock.
    pub quiet: AtomicBool,
    pub queued: Condvar,
    pub admission: Admission,
}

#[derive(Debug, Default)]
pub struct QueueState {
    pub queued: VecDeque<QueuedSubmission>,
    pub in_flight_peak: InFlightPeak,
    pub phase: QueuePhase,
    /// Whether a thread holds the append permit.
    pub permit_taken: bool,
    /// Whether the appending thread sleeps until something is queued.
    pub thread_sleeps: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueuePhase {
    #[default]
    Open,
    /// Queued submissions are still appended.
    Stopping,
    /// Nothing is appended any more.
    Dead,
}

impl QueueShared {
    pub fn new(admission: Admission) -> Self {
        let (state, quiet) = (Mutex::default(), AtomicBool::new(false));
        Self { state, quiet, queued: Condvar::new(), admission }
    }

    /// The state is consistent after every step, so a panic elsewhere does not spoil it.
    pub fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the appending thread if it sleeps; waking it needlessly would cost a system call.
    pub fn wake(&self, state: MutexGuard<'_, QueueState>) {
        let sleeps = state.thread_sleeps;
        drop(state);
        if sleeps {
            self.queued.notify_one();
        }
    }
}

//! What the queue, its callers and the turn to append share.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use crate::decide::Verdict;
use crate::order::local::group_size::InFlightPeak;
use crate::order::{ProposeError, Submission};

/// A submission on its way, with the place to answer.
#[derive(Debug)]
pub struct Queued {
    pub submission: Submission,
    pub answer: oneshot::Sender<Result<Verdict, ProposeError>>,
    pub bytes: usize,
    pub held: HeldBytes,
}

/// What submissions hold of the queue: less than they weigh where one alone is more than all.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeldBytes {
    pub bytes: usize,
    /// Of the part for those who wait.
    pub patient_bytes: usize,
}

#[derive(Debug)]
pub struct QueueShared {
    pub state: Mutex<QueueState>,
    /// Whether the last turn appended one submission and no other came meanwhile; written under the
    /// lock.
    pub quiet: AtomicBool,
    pub queued: Condvar,
    /// Bytes that are free; closed when nothing more is taken.
    pub room: Arc<Semaphore>,
    /// Of those, what whoever waits in line may have. They wait here first, then there.
    pub patient: Arc<Semaphore>,
}

#[derive(Debug, Default)]
pub struct QueueState {
    pub queued: VecDeque<Queued>,
    pub peak: InFlightPeak,
    pub phase: QueuePhase,
    /// Whether somebody holds the turn.
    pub taken: bool,
    /// Whether the thread waits for something to append.
    pub waits: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueuePhase {
    #[default]
    Open,
    /// What is queued is still appended.
    Stopping,
    /// Nobody will append any more.
    Dead,
}

impl HeldBytes {
    /// Together with another.
    pub fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.patient_bytes += other.patient_bytes;
    }
}

impl QueueShared {
    /// The state is whole after every step, so that a panic elsewhere does not spoil it.
    pub fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the thread, if it waits: a wake costs a system call.
    pub fn wake(&self, state: MutexGuard<'_, QueueState>) {
        let waits = state.waits;
        drop(state);
        if waits {
            self.queued.notify_one();
        }
    }

    pub fn close(&self) {
        self.patient.close();
        self.room.close();
    }

    pub fn release(&self, held: HeldBytes) {
        self.room.add_permits(held.bytes);
        self.patient.add_permits(held.patient_bytes);
    }
}

//! The bounded queue in front of the appender, weighed in bytes, and the turn to append.
//!
//! Owns who appends next: one thread at a time holds the [`Turn`], and only it takes from the
//! queue. What is queued during a turn is taken by the next one, so that nobody has to be woken
//! for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::{ProposeError, Submission, Ticket};
use crate::decide::Verdict;

/// What a queued event costs beside its data: names, ids, salts, its place in the queue.
const EVENT_OVERHEAD_BYTES: usize = 512;

/// The queue; clones mean the same one.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    shared: Arc<Shared>,
    bytes_max: usize,
}

/// A submission on its way, with the place to answer.
#[derive(Debug)]
pub(super) struct Queued {
    pub submission: Submission,
    pub answer: oneshot::Sender<Result<Verdict, ProposeError>>,
    pub bytes: usize,
}

/// The right to append; to be ended, for a turn that is dropped leaves an appender that died.
#[derive(Debug)]
pub(super) struct Turn {
    shared: Arc<Shared>,
    ended: bool,
}

/// What became of a submission.
pub(super) enum Pushed {
    Queued(Ticket),
    /// Nothing was queued and nobody appends: the caller does.
    Turn(Turn, Queued, Ticket),
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    queued: Condvar,
    weight: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    queued: VecDeque<Queued>,
    phase: Phase,
    /// Whether somebody holds the turn.
    taken: bool,
    /// Whether the thread waits for something to append.
    waits: bool,
    /// Whether the last turn appended one submission and no other came meanwhile.
    quiet: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// What is queued is still appended.
    Stopping,
    /// Nobody will append any more.
    Dead,
}

impl Queue {
    pub fn new(bytes_max: usize) -> Self {
        Self { shared: Arc::default(), bytes_max }
    }

    /// Queues a submission.
    pub fn push(&self, submission: Submission) -> Result<Ticket, ProposeError> {
        let (queued, ticket) = self.weigh(submission)?;
        self.enqueue(self.shared.lock(), queued)?;
        Ok(ticket)
    }

    /// Queues a submission, or gives the caller the turn for it if it comes alone, as the one
    /// before it did, and weighs no more than `bytes_max`.
    pub fn push_or_append(
        &self,
        submission: Submission,
        bytes_max: usize,
    ) -> Result<Pushed, ProposeError> {
        let (queued, ticket) = self.weigh(submission)?;
        let mut state = self.shared.lock();
        let alone = state.quiet && !state.taken && state.queued.is_empty();
        if alone && queued.bytes <= bytes_max && state.phase == Phase::Open {
            state.taken = true;
            let turn = Turn { shared: self.shared.clone(), ended: false };
            return Ok(Pushed::Turn(turn, queued, ticket));
        }
        self.enqueue(state, queued)?;
        Ok(Pushed::Queued(ticket))
    }

    /// Waits for something to append; nothing when all is appended and no more will come.
    pub fn wait(&self) -> Option<Turn> {
        let mut state = self.shared.lock();
        loop {
            match state.phase {
                Phase::Dead => return None,
                Phase::Stopping if state.queued.is_empty() && !state.taken => {
                    state.phase = Phase::Dead;
                    return None;
                }
                Phase::Open | Phase::Stopping => {}
            }
            if !state.taken && !state.queued.is_empty() {
                state.taken = true;
                return Some(Turn { shared: self.shared.clone(), ended: false });
            }
            state.waits = true;
            state = self.shared.queued.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waits = false;
        }
    }

    /// Everything queued before is still appended; everything after is refused.
    pub fn stop(&self) {
        let mut state = self.shared.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Stopping;
        }
        self.shared.wake(state);
    }

    pub fn bytes(&self) -> usize {
        self.shared.weight.load(Ordering::Relaxed)
    }

    fn weigh(&self, submission: Submission) -> Result<(Queued, Ticket), ProposeError> {
        let bytes = weigh(&submission);
        let before = self.shared.weight.fetch_add(bytes, Ordering::Relaxed);
        // An empty queue takes anything, so that one batch larger than the bound is not refused
        // for ever.
        if before != 0 && before + bytes > self.bytes_max {
            self.shared.release(bytes);
            return Err(ProposeError::QueueFull);
        }
        let (answer, ticket) = Ticket::new();
        Ok((Queued { submission, answer, bytes }, ticket))
    }

    fn enqueue(
        &self,
        mut state: MutexGuard<'_, State>,
        queued: Queued,
    ) -> Result<(), ProposeError> {
        if state.phase != Phase::Open {
            drop(state);
            self.shared.release(queued.bytes);
            return Err(ProposeError::Stopping);
        }
        state.queued.push_back(queued);
        // Whoever has the turn looks here again before it goes.
        if !state.taken {
            self.shared.wake(state);
        }
        Ok(())
    }
}

impl Turn {
    /// The next submission.
    pub fn take(&self) -> Option<Queued> {
        self.shared.lock().queued.pop_front()
    }

    /// Called when submissions have left memory, not when they left the queue.
    pub fn release(&self, bytes: usize) {
        self.shared.release(bytes);
    }

    /// Puts back what was taken, for the thread to append.
    pub fn give_back(mut self, queued: Queued) {
        self.ended = true;
        let mut state = self.shared.lock();
        state.taken = false;
        state.quiet = false;
        state.queued.push_front(queued);
        self.shared.wake(state);
    }

    /// Lets the next one append; this turn took in so many submissions.
    pub fn end(mut self, submissions: usize) {
        self.ended = true;
        let mut state = self.shared.lock();
        state.taken = false;
        state.quiet = submissions == 1 && state.queued.is_empty();
        if !state.queued.is_empty() || state.phase == Phase::Stopping {
            self.shared.wake(state);
        }
    }
}

impl Drop for Turn {
    /// Whoever was being appended learns that nobody knows what became of it, and whoever was only
    /// queued that it was not stored.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut state = self.shared.lock();
        state.phase = Phase::Dead;
        let abandoned = std::mem::take(&mut state.queued);
        self.shared.wake(state);
        for Queued { answer, bytes, .. } in abandoned {
            self.shared.release(bytes);
            // Nobody began to store it; and whoever went away meanwhile needs no answer.
            let _ = answer.send(Err(ProposeError::StorageFailed));
        }
    }
}

impl Shared {
    /// The state is whole after every step, so that a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the thread, if it waits: a wake costs a system call.
    fn wake(&self, state: MutexGuard<'_, State>) {
        let waits = state.waits;
        drop(state);
        if waits {
            self.queued.notify_one();
        }
    }

    fn release(&self, bytes: usize) {
        self.weight.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn weigh(submission: &Submission) -> usize {
    let events = &submission.proposal.events;
    events.iter().map(|proposed| EVENT_OVERHEAD_BYTES + proposed.event.data.as_bytes().len()).sum()
}

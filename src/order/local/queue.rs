//! The bounded queue in front of the appender, weighed in bytes, and the turn to append.
//!
//! Owns who appends next: one thread at a time holds the [`AppendPermit`], and only it takes from the
//! queue. What is queued during a turn is taken by the next ones, so that nobody has to be woken
//! for it; a crowd is taken in halves.
//!
//! Bytes are permits of a semaphore, which keeps whoever waits for some in line: what a turn frees
//! goes to the first one that waits. Those who wait have a part of the queue only, so that they do
//! not have others refused, who pay for an exchange of one word.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, TryAcquireError};

use crate::order::local::permit::AppendPermit;
use crate::order::local::queue_state::{HeldBytes, QueuePhase, QueueShared, QueueState, Queued};
use crate::order::{ProposeError, Submission, Ticket};

/// What a queued event costs beside its data: names, ids, salts, its place in the queue.
pub(crate) const EVENT_OVERHEAD_BYTES: usize = 512;
/// A submission holds no more of the queue, whatever it weighs: what a semaphore gives at once.
const RESERVED_MAX: usize = u32::MAX as usize;
/// One part in so many of the queue is for those who wait in line: enough for dozens of groups,
/// and as much for those who would be refused.
const PATIENT_PART: usize = 2;

/// The queue; clones mean the same one.
#[derive(Clone, Debug)]
pub struct Queue {
    shared: Arc<QueueShared>,
    bytes_max: usize,
    patient_bytes_max: usize,
}

/// A place in the queue for one submission; who drops it leaves.
#[derive(Debug)]
pub struct Reserved {
    patient: OwnedSemaphorePermit,
    room: OwnedSemaphorePermit,
}

/// What became of a submission.
pub enum Pushed {
    Queued(Ticket),
    /// Nothing was queued and nobody appends: the caller does.
    Permit(AppendPermit, Queued, Ticket),
}

impl Queue {
    pub fn new(bytes_max: usize) -> Self {
        let bytes_max = bytes_max.min(Semaphore::MAX_PERMITS);
        let patient_bytes_max = bytes_max / PATIENT_PART;
        let shared = QueueShared {
            state: Mutex::default(),
            quiet: AtomicBool::new(false),
            queued: Condvar::new(),
            room: Arc::new(Semaphore::new(bytes_max)),
            patient: Arc::new(Semaphore::new(patient_bytes_max)),
        };
        Self { shared: Arc::new(shared), bytes_max, patient_bytes_max }
    }

    /// Queues a submission.
    pub fn push(&self, submission: Submission) -> Result<Ticket, ProposeError> {
        let (queued, ticket) = self.weigh(submission)?;
        self.enqueue(self.shared.lock(), queued)?;
        Ok(ticket)
    }

    /// A place for a submission of this weight among those who wait, if there is one now.
    pub fn try_reserve(&self, submission: &Submission) -> Result<Reserved, ProposeError> {
        let (patient, room) = self.permits(weigh(submission));
        let patient = self.shared.patient.clone().try_acquire_many_owned(patient);
        let patient = patient.map_err(refusal)?;
        let room = self.shared.room.clone().try_acquire_many_owned(room).map_err(refusal)?;
        Ok(Reserved { patient, room })
    }

    /// Waits in line for a place for a submission of this weight.
    pub fn reserve(
        &self,
        submission: &Submission,
    ) -> impl Future<Output = Result<Reserved, ProposeError>> + Send + use<> {
        self.line_up(weigh(submission))
    }

    /// Waits in line until an event would have found room, and leaves that to whoever comes first.
    pub fn room(&self) -> impl Future<Output = Result<(), ProposeError>> + Send + use<> {
        let reserve = self.line_up(EVENT_OVERHEAD_BYTES);
        async move { reserve.await.map(drop) }
    }

    /// Whether an event of somebody who waits would find room now, or learn that nothing more is
    /// taken.
    pub fn has_room(&self) -> bool {
        let QueueShared { room, patient, .. } = &*self.shared;
        let is_free = |free: &Semaphore, bytes_max| {
            free.available_permits() >= EVENT_OVERHEAD_BYTES.min(bytes_max)
        };
        room.is_closed()
            || is_free(patient, self.patient_bytes_max) && is_free(room, self.bytes_max)
    }

    /// Queues a submission in the place that was reserved for it.
    pub fn push_into(
        &self,
        reserved: Reserved,
        submission: Submission,
    ) -> Result<Ticket, ProposeError> {
        let Reserved { patient, room } = reserved;
        let held = HeldBytes { bytes: room.num_permits(), patient_bytes: patient.num_permits() };
        patient.forget();
        room.forget();
        self.push_holding(held, submission)
    }

    /// Queues a submission beyond the bound, for a caller that can neither wait nor be refused.
    pub fn push_beyond(&self, submission: Submission) -> Result<Ticket, ProposeError> {
        let wanted = self.held(weigh(&submission)).bytes;
        let bytes = self.shared.room.forget_permits(wanted);
        self.push_holding(HeldBytes { bytes, patient_bytes: 0 }, submission)
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
        let alone = self.is_quiet() && !state.taken && state.queued.is_empty();
        if alone && queued.bytes <= bytes_max && state.phase == QueuePhase::Open {
            state.taken = true;
            let turn = AppendPermit::new(&self.shared, 1);
            return Ok(Pushed::Permit(turn, queued, ticket));
        }
        self.enqueue(state, queued)?;
        Ok(Pushed::Queued(ticket))
    }

    /// Whether the last submission came alone.
    pub fn is_quiet(&self) -> bool {
        self.shared.quiet.load(Ordering::Relaxed)
    }

    /// Waits for something to append; nothing when all is appended and no more will come.
    pub fn wait(&self) -> Option<AppendPermit> {
        let mut state = self.shared.lock();
        loop {
            match state.phase {
                QueuePhase::Dead => return None,
                QueuePhase::Stopping if state.queued.is_empty() && !state.taken => {
                    state.phase = QueuePhase::Dead;
                    return None;
                }
                QueuePhase::Open | QueuePhase::Stopping => {}
            }
            if !state.taken && !state.queued.is_empty() {
                state.taken = true;
                let share = state.peak.share(state.queued.len());
                return Some(AppendPermit::new(&self.shared, share));
            }
            state.waits = true;
            state = self.shared.queued.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waits = false;
        }
    }

    /// Everything queued before is still appended; everything after is refused.
    pub fn stop(&self) {
        let mut state = self.shared.lock();
        if state.phase == QueuePhase::Open {
            state.phase = QueuePhase::Stopping;
        }
        self.shared.wake(state);
        self.shared.close();
    }

    /// Whoever waits in line is refused, and everything after; what is queued stays.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Bytes that are queued, or kept free for who waits in line for more.
    pub fn bytes(&self) -> usize {
        self.bytes_max - self.shared.room.available_permits()
    }

    fn weigh(&self, submission: Submission) -> Result<(Queued, Ticket), ProposeError> {
        let bytes = weigh(&submission);
        let (_, permits) = self.permits(bytes);
        let room = self.shared.room.try_acquire_many(permits);
        room.map(SemaphorePermit::forget).map_err(refusal)?;
        let held = HeldBytes { patient_bytes: 0, ..self.held(bytes) };
        let (answer, ticket) = Ticket::new();
        Ok((Queued { submission, answer, bytes, held }, ticket))
    }

    fn line_up(
        &self,
        bytes: usize,
    ) -> impl Future<Output = Result<Reserved, ProposeError>> + Send + use<> {
        let (shared, permits) = (self.shared.clone(), self.permits(bytes));
        async move {
            let stopping = |_| ProposeError::Stopping;
            let patient = shared.patient.clone().acquire_many_owned(permits.0);
            let patient = patient.await.map_err(stopping)?;
            let room = shared.room.clone().acquire_many_owned(permits.1);
            Ok(Reserved { patient, room: room.await.map_err(stopping)? })
        }
    }

    /// What somebody who waits holds for so many bytes. An empty queue takes anything, so that one
    /// batch larger than the bound is not refused for ever.
    fn held(&self, bytes: usize) -> HeldBytes {
        let bytes = bytes.min(RESERVED_MAX);
        HeldBytes {
            bytes: bytes.min(self.bytes_max),
            patient_bytes: bytes.min(self.patient_bytes_max),
        }
    }

    /// The same as permits: among those who wait, and of all.
    fn permits(&self, bytes: usize) -> (u32, u32) {
        let HeldBytes { bytes, patient_bytes } = self.held(bytes);
        let permits = |bytes| u32::try_from(bytes).expect("it is that at most");
        (permits(patient_bytes), permits(bytes))
    }

    fn push_holding(
        &self,
        held: HeldBytes,
        submission: Submission,
    ) -> Result<Ticket, ProposeError> {
        let bytes = weigh(&submission);
        let (answer, ticket) = Ticket::new();
        self.enqueue(self.shared.lock(), Queued { submission, answer, bytes, held })?;
        Ok(ticket)
    }

    fn enqueue(
        &self,
        mut state: MutexGuard<'_, QueueState>,
        queued: Queued,
    ) -> Result<(), ProposeError> {
        if state.phase != QueuePhase::Open {
            drop(state);
            self.shared.release(queued.held);
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

fn refusal(error: TryAcquireError) -> ProposeError {
    match error {
        TryAcquireError::Closed => ProposeError::Stopping,
        TryAcquireError::NoPermits => ProposeError::QueueFull,
    }
}

fn weigh(submission: &Submission) -> usize {
    let events = &submission.proposal.events;
    events.iter().map(|proposed| EVENT_OVERHEAD_BYTES + proposed.event.data.as_bytes().len()).sum()
}

//! Admits proposals while the bytes under way are within their bound, and keeps callers that wait
//! for room in line.
//!
//! Bytes are permits of a semaphore, which serves waiting callers first come, first served. Callers
//! that wait may hold only a share of the bytes, so callers that do not wait are never refused
//! because of them. Not waiting costs one compare-and-swap.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, TryAcquireError};

use crate::order::submission::{ProposeError, Submission};

/// Bytes of a queued event beside its data: names, ids, salts, its slot in the queue.
pub(crate) const EVENT_OVERHEAD_BYTES: usize = 512;
/// Maximum bytes of one submission that are counted: a semaphore takes no more permits at once.
const SUBMISSION_BYTES_MAX: usize = u32::MAX as usize;
/// Callers that wait share one half of the bytes: enough for dozens of groups, and it leaves as much
/// to callers that would be refused.
const WAITING_SHARE: usize = 2;

const OPEN: u8 = 0;
const STOPPING: u8 = 1;
const FAILED: u8 = 2;

/// The bound on bytes under way; clones share it.
#[derive(Clone, Debug)]
pub struct Admission {
    shared: Arc<AdmissionShared>,
    bytes_max: usize,
    waiting_bytes_max: usize,
}

#[derive(Debug)]
struct AdmissionShared {
    /// Free bytes; closed with the admission.
    free: Arc<Semaphore>,
    /// The part of the free bytes that is left to callers that wait. They acquire this first.
    waiting: Arc<Semaphore>,
    /// [`OPEN`], [`STOPPING`] or [`FAILED`]; it only rises.
    closed: AtomicU8,
}

/// The bytes that an admitted submission holds. Whoever takes the submission releases them when it
/// has left memory.
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "bytes that are not released stay taken"]
pub struct AdmittedBytes {
    bytes: usize,
    /// Of the share of callers that wait.
    waiting_bytes: usize,
}

/// Room for one submission, held by a caller that waited for it; dropping it frees the room.
#[derive(Debug)]
pub struct Reservation {
    free: OwnedSemaphorePermit,
    waiting: OwnedSemaphorePermit,
}

impl Admission {
    /// Bounds the bytes under way. An empty queue admits anything, so that one batch larger than
    /// the bound is not refused forever.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let bytes_max = bytes_max.min(Semaphore::MAX_PERMITS);
        let waiting_bytes_max = bytes_max / WAITING_SHARE;
        let shared = AdmissionShared {
            free: Arc::new(Semaphore::new(bytes_max)),
            waiting: Arc::new(Semaphore::new(waiting_bytes_max)),
            closed: AtomicU8::new(OPEN),
        };
        Self { shared: Arc::new(shared), bytes_max, waiting_bytes_max }
    }

    /// Admits a submission if there is room for it now.
    ///
    /// # Errors
    /// [`ProposeError::QueueFull`], or why nothing is admitted any more.
    pub fn admit(&self, submission: &Submission) -> Result<AdmittedBytes, ProposeError> {
        self.check()?;
        let bytes = weigh(submission);
        let (_, permits) = self.permits(bytes);
        let free = self.shared.free.try_acquire_many(permits);
        free.map(SemaphorePermit::forget).map_err(|error| self.refusal(&error))?;
        Ok(AdmittedBytes { waiting_bytes: 0, ..self.counted(bytes) })
    }

    /// Admits a submission even beyond the bound, for a caller that can neither wait nor report a
    /// refusal.
    ///
    /// # Errors
    /// [`ProposeError::StorageFailed`].
    pub fn admit_beyond(&self, submission: &Submission) -> Result<AdmittedBytes, ProposeError> {
        self.check()?;
        let bytes = self.shared.free.forget_permits(self.counted(weigh(submission)).bytes);
        Ok(AdmittedBytes { bytes, waiting_bytes: 0 })
    }

    /// Room for a submission in the share of callers that wait, if there is some now.
    ///
    /// # Errors
    /// As [`Admission::admit`].
    pub fn try_reserve(&self, submission: &Submission) -> Result<Reservation, ProposeError> {
        self.check()?;
        let (waiting_permits, permits) = self.permits(weigh(submission));
        let acquire = |semaphore: &Arc<Semaphore>, permits| {
            let acquired = semaphore.clone().try_acquire_many_owned(permits);
            acquired.map_err(|error| self.refusal(&error))
        };
        let waiting = acquire(&self.shared.waiting, waiting_permits)?;
        Ok(Reservation { free: acquire(&self.shared.free, permits)?, waiting })
    }

    /// Waits in line for room for a submission.
    ///
    /// # Errors
    /// Why nothing is admitted any more.
    pub fn reserve(
        &self,
        submission: &Submission,
    ) -> impl Future<Output = Result<Reservation, ProposeError>> + Send + use<> {
        self.line_up(weigh(submission))
    }

    /// Whether a small event of a caller that waits would be admitted now, or refused for good.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let AdmissionShared { free, waiting, .. } = &*self.shared;
        let has = |semaphore: &Semaphore, bytes_max| {
            semaphore.available_permits() >= EVENT_OVERHEAD_BYTES.min(bytes_max)
        };
        free.is_closed() || has(waiting, self.waiting_bytes_max) && has(free, self.bytes_max)
    }

    /// Waits in line until [`Admission::has_room`]. The room goes to whoever proposes first.
    ///
    /// # Errors
    /// Why nothing is admitted any more.
    pub fn room(&self) -> impl Future<Output = Result<(), ProposeError>> + Send + use<> {
        let reserve = self.line_up(EVENT_OVERHEAD_BYTES);
        async move { reserve.await.map(drop) }
    }

    /// Bytes that are under way, or kept free for the callers in line.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes_max - self.shared.free.available_permits()
    }

    /// Frees the bytes of submissions that have left memory.
    pub fn release(&self, admitted: AdmittedBytes) {
        self.shared.free.add_permits(admitted.bytes);
        self.shared.waiting.add_permits(admitted.waiting_bytes);
    }

    /// Refuses every further submission, callers in line included, because of a shutdown.
    pub fn stop(&self) {
        self.close(STOPPING);
    }

    /// Refuses every further submission, callers in line included, because the storage failed.
    pub fn fail(&self) {
        self.close(FAILED);
    }

    /// Whether nothing is admitted because the storage failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.closed.load(Ordering::Relaxed) == FAILED
    }

    /// Why a submission is refused once nothing is admitted any more.
    #[must_use]
    pub fn closed(&self) -> ProposeError {
        if self.has_failed() { ProposeError::StorageFailed } else { ProposeError::Stopping }
    }

    /// # Errors
    /// [`ProposeError::StorageFailed`].
    fn check(&self) -> Result<(), ProposeError> {
        if self.has_failed() { Err(ProposeError::StorageFailed) } else { Ok(()) }
    }

    fn close(&self, reason: u8) {
        self.shared.closed.fetch_max(reason, Ordering::Relaxed);
        self.shared.waiting.close();
        self.shared.free.close();
    }

    fn refusal(&self, error: &TryAcquireError) -> ProposeError {
        match error {
            TryAcquireError::Closed => self.closed(),
            TryAcquireError::NoPermits => ProposeError::QueueFull,
        }
    }

    fn line_up(
        &self,
        bytes: usize,
    ) -> impl Future<Output = Result<Reservation, ProposeError>> + Send + use<> {
        let (admission, permits) = (self.clone(), self.permits(bytes));
        async move {
            let AdmissionShared { free, waiting, .. } = &*admission.shared;
            let waiting = waiting.clone().acquire_many_owned(permits.0).await;
            let waiting = waiting.map_err(|_| admission.closed())?;
            let free = free.clone().acquire_many_owned(permits.1).await;
            Ok(Reservation { free: free.map_err(|_| admission.closed())?, waiting })
        }
    }

    /// The bytes that are counted for a submission of a caller that waits.
    fn counted(&self, bytes: usize) -> AdmittedBytes {
        let bytes = bytes.min(SUBMISSION_BYTES_MAX);
        AdmittedBytes {
            bytes: bytes.min(self.bytes_max),
            waiting_bytes: bytes.min(self.waiting_bytes_max),
        }
    }

    /// The same as permits: of the share of callers that wait, and of all.
    fn permits(&self, bytes: usize) -> (u32, u32) {
        let AdmittedBytes { bytes, waiting_bytes } = self.counted(bytes);
        let permits = |bytes| u32::try_from(bytes).expect("it is SUBMISSION_BYTES_MAX at most");
        (permits(waiting_bytes), permits(bytes))
    }
}

impl AdmittedBytes {
    /// Adds the bytes of another submission.
    pub fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.waiting_bytes += other.waiting_bytes;
    }
}

impl Reservation {
    /// Admits the submission that the room was reserved for.
    pub fn admit(self) -> AdmittedBytes {
        let (bytes, waiting_bytes) = (self.free.num_permits(), self.waiting.num_permits());
        self.waiting.forget();
        self.free.forget();
        AdmittedBytes { bytes, waiting_bytes }
    }
}

/// Bytes that a submission takes in the queue.
pub(super) fn weigh(submission: &Submission) -> usize {
    let events = &submission.proposal.events;
    events.iter().map(|proposed| EVENT_OVERHEAD_BYTES + proposed.event.data.as_bytes().len()).sum()
}

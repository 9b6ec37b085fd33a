//! State that the projection thread and the handles share: the status, the readable store, and the
//! wake-ups between the two sides. A store that is invalid or not built yet is never handed out.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use crate::journal::Reader;
use crate::projection::read::unavailable::Unavailable;
use crate::projection::store::Store;
use crate::record::Seq;

/// Beyond this lag the projection is catching up: about 1 s of work under full load.
pub const LAG_RECORDS_MAX: u64 = 50_000;

/// What the projection thread is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowPhase {
    CatchingUp,
    Closed,
    Failed(Arc<str>),
    Opening,
    Ready,
    Rebuilding,
}

/// The status that waiting readers watch.
#[derive(Clone, Debug)]
pub struct ProjectionStatus {
    pub applied: Seq,
    pub phase: FollowPhase,
    /// Whether the id index is complete: an id that is not in it is in no applied record.
    pub ids_complete: bool,
}

/// State that the projection thread and the handles share.
pub struct SharedStatus {
    reader: Reader,
    stopped: AtomicBool,
    /// Whether the store shows that the log has lost records.
    data_loss: AtomicBool,
    status: watch::Sender<ProjectionStatus>,
    /// The store that may be read.
    store: RwLock<Option<Arc<Store>>>,
    /// Number of readers that wait for a position.
    readers_waiting: AtomicUsize,
    /// Set to end a pause of the thread.
    interrupted: Mutex<bool>,
    interrupt_signal: Condvar,
}

/// How a pause ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseEnd {
    /// A reader waits or has waited, or the projection was closed.
    Interrupted,
    Elapsed,
}

/// A reader that waits for a position; counted until it is dropped.
pub struct WaitingReader<'a>(&'a SharedStatus);

impl SharedStatus {
    pub fn new(reader: Reader) -> Self {
        let status =
            ProjectionStatus { applied: 0, phase: FollowPhase::Rebuilding, ids_complete: false };
        Self {
            reader,
            stopped: AtomicBool::new(false),
            data_loss: AtomicBool::new(false),
            status: watch::Sender::new(status),
            store: RwLock::new(None),
            readers_waiting: AtomicUsize::new(0),
            interrupted: Mutex::new(false),
            interrupt_signal: Condvar::new(),
        }
    }

    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    pub fn head(&self) -> Seq {
        self.reader.durable()
    }

    pub fn status(&self) -> ProjectionStatus {
        self.status.borrow().clone()
    }

    pub fn subscribe(&self) -> watch::Receiver<ProjectionStatus> {
        self.status.subscribe()
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Makes `store` readable.
    pub fn publish_store(&self, store: &Arc<Store>) {
        *self.store.write().expect(NO_PANIC) = Some(Arc::clone(store));
    }

    /// Ends all further reads of the store.
    pub fn withdraw_store(&self) {
        *self.store.write().expect(NO_PANIC) = None;
    }

    pub fn publish_status(&self, status: ProjectionStatus) {
        self.status.send_replace(status);
    }

    /// Reports that the log has lost records, so that the server stops acknowledging.
    pub fn report_data_loss(&self) {
        self.data_loss.store(true, Ordering::Release);
    }

    pub fn reports_data_loss(&self) -> bool {
        self.data_loss.load(Ordering::Acquire)
    }

    pub fn fail(&self, reason: String) {
        tracing::error!(%reason, "the projection failed");
        self.end(FollowPhase::Failed(reason.into()));
    }

    pub fn close(&self) {
        self.end(FollowPhase::Closed);
    }

    fn end(&self, phase: FollowPhase) {
        self.withdraw_store();
        self.status.send_modify(|status| {
            status.phase = phase;
            status.ids_complete = false;
        });
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.wake();
    }

    /// Ends any wait of the thread.
    pub fn wake(&self) {
        self.reader.wake_all();
        self.interrupt();
    }

    /// Ends a pause of the thread.
    fn interrupt(&self) {
        *self.interrupted.lock().expect(NO_PANIC) = true;
        self.interrupt_signal.notify_one();
    }

    /// Counts a waiting reader and ends a pause of the thread.
    pub fn register_waiting(&self) -> WaitingReader<'_> {
        self.readers_waiting.fetch_add(1, Ordering::AcqRel);
        self.interrupt();
        WaitingReader(self)
    }

    /// Pauses for `limit`, or until a reader waits.
    pub fn pause(&self, limit: Duration) -> PauseEnd {
        let interrupted = self.interrupted.lock().expect(NO_PANIC);
        let keeps_pausing = |interrupted: &mut bool| {
            !*interrupted && self.readers_waiting.load(Ordering::Acquire) == 0
        };
        let waited = self.interrupt_signal.wait_timeout_while(interrupted, limit, keeps_pausing);
        let (mut interrupted, waited) = waited.expect(NO_PANIC);
        *interrupted = false;
        if waited.timed_out() { PauseEnd::Elapsed } else { PauseEnd::Interrupted }
    }

    /// Waits for `delay`, or until the projection is closed.
    pub fn wait_to_retry(&self, delay: Duration) {
        let interrupted = self.interrupted.lock().expect(NO_PANIC);
        let keeps_waiting = |_: &mut bool| !self.is_stopped();
        drop(
            self.interrupt_signal
                .wait_timeout_while(interrupted, delay, keeps_waiting)
                .expect(NO_PANIC),
        );
    }

    /// Reports that the store is being opened. The applied position does not move back.
    pub fn publish_opening(&self, applied: Seq) {
        self.status.send_modify(|status| {
            status.applied = status.applied.max(applied);
            status.phase = FollowPhase::Opening;
            status.ids_complete = false;
        });
    }

    /// The store, if it may be read.
    pub fn readable(&self) -> Result<Arc<Store>, Unavailable> {
        if let Some(store) = &*self.store.read().expect(NO_PANIC) {
            return match store.fault() {
                None => Ok(Arc::clone(store)),
                Some(_) => Err(Unavailable::Invalid),
            };
        }
        Err(match self.status().phase {
            FollowPhase::CatchingUp | FollowPhase::Ready => Unavailable::Invalid,
            FollowPhase::Closed => Unavailable::Closed,
            FollowPhase::Failed(_) => Unavailable::Failed,
            FollowPhase::Opening => Unavailable::Opening,
            FollowPhase::Rebuilding => Unavailable::Rebuilding,
        })
    }
}

impl Drop for WaitingReader<'_> {
    fn drop(&mut self) {
        self.0.readers_waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

const NO_PANIC: &str = "no code panics while it holds a lock of the projection";

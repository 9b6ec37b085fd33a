//! What the thread and the handles share.
//!
//! Owns the status, the store that may be read, and the waking of one side by the other. Promises
//! that a store in doubt, or one that is not built yet, is handed to nobody.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use crate::journal::Reader;
use crate::projection::read::handle::Unavailable;
use crate::projection::store::Store;
use crate::record::Seq;

/// What the projection does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowPhase {
    CatchingUp,
    Closed,
    Failed(Arc<str>),
    Opening,
    Ready,
    Rebuilding,
}

/// What waiting readers are told.
#[derive(Clone, Debug)]
pub struct ProjectionStatus {
    pub applied: Seq,
    pub phase: FollowPhase,
    /// Whether an id that is not in the index is in no applied record.
    pub ids_complete: bool,
}

/// What the thread and the handles share.
pub struct SharedStatus {
    reader: Reader,
    stopped: AtomicBool,
    /// Whether the store proves that the log has lost records.
    data_loss: AtomicBool,
    status: watch::Sender<ProjectionStatus>,
    /// The store that may be read.
    store: RwLock<Option<Arc<Store>>>,
    /// Readers that wait for a position now.
    readers_waiting: AtomicUsize,
    /// Set when the thread must not rest.
    interrupted: Mutex<bool>,
    interrupt_signal: Condvar,
}

/// How a rest went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseEnd {
    /// A reader waits or has waited, or the projection is closed.
    Interrupted,
    Elapsed,
}

/// A reader that waits for a position.
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

    /// Lets readers in.
    pub fn publish_store(&self, store: &Arc<Store>) {
        *self.store.write().expect(NO_PANIC) = Some(Arc::clone(store));
    }

    /// Lets nobody in any more.
    pub fn withdraw_store(&self) {
        *self.store.write().expect(NO_PANIC) = None;
    }

    pub fn publish_status(&self, status: ProjectionStatus) {
        self.status.send_replace(status);
    }

    /// Whoever acknowledges must end.
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

    /// Ends whatever the thread waits for.
    pub fn wake(&self) {
        self.reader.wake_all();
        self.interrupt();
    }

    /// Ends the thread's rest.
    fn interrupt(&self) {
        *self.interrupted.lock().expect(NO_PANIC) = true;
        self.interrupt_signal.notify_one();
    }

    /// Counts a reader that waits, and hurries the thread for it.
    pub fn register_waiting(&self) -> WaitingReader<'_> {
        self.readers_waiting.fetch_add(1, Ordering::AcqRel);
        self.interrupt();
        WaitingReader(self)
    }

    /// Rests that long, unless a reader waits.
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

    /// Waits that long, unless the projection is closed.
    pub fn wait_to_retry(&self, delay: Duration) {
        let interrupted = self.interrupted.lock().expect(NO_PANIC);
        let keeps_waiting = |_: &mut bool| !self.is_stopped();
        drop(
            self.interrupt_signal
                .wait_timeout_while(interrupted, delay, keeps_waiting)
                .expect(NO_PANIC),
        );
    }

    /// Tells readers that the store is opened: what was applied stays applied.
    pub fn publish_opening(&self, applied: Seq) {
        self.status.send_modify(|status| {
            status.applied = status.applied.max(applied);
            status.phase = FollowPhase::Opening;
            status.ids_complete = false;
        });
    }

    /// The store, when reads from it are right.
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

const NO_PANIC: &str = "nothing panics while it holds a lock of the projection";

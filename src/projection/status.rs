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
pub struct Status {
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
    accused: AtomicBool,
    status: watch::Sender<Status>,
    /// The store that may be read.
    store: RwLock<Option<Arc<Store>>>,
    /// Readers that wait for a position now.
    waiting: AtomicUsize,
    /// Set when the thread must not rest.
    hurry: Mutex<bool>,
    hurried: Condvar,
}

/// How a rest went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseEnd {
    /// A reader waits or has waited, or the projection is closed.
    Ended,
    Whole,
}

/// A reader that waits for a position.
pub struct WaitingReader<'a>(&'a SharedStatus);

impl SharedStatus {
    pub fn new(reader: Reader) -> Self {
        let status = Status { applied: 0, phase: FollowPhase::Rebuilding, ids_complete: false };
        Self {
            reader,
            stopped: AtomicBool::new(false),
            accused: AtomicBool::new(false),
            status: watch::Sender::new(status),
            store: RwLock::new(None),
            waiting: AtomicUsize::new(0),
            hurry: Mutex::new(false),
            hurried: Condvar::new(),
        }
    }

    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    pub fn head(&self) -> Seq {
        self.reader.durable()
    }

    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    pub fn subscribe(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Lets readers in.
    pub fn publish(&self, store: &Arc<Store>) {
        *self.store.write().expect(NO_PANIC) = Some(Arc::clone(store));
    }

    /// Lets nobody in any more.
    pub fn withdraw(&self) {
        *self.store.write().expect(NO_PANIC) = None;
    }

    pub fn tell(&self, status: Status) {
        self.status.send_replace(status);
    }

    /// Whoever acknowledges must end.
    pub fn accuse(&self) {
        self.accused.store(true, Ordering::Release);
    }

    pub fn has_accused(&self) -> bool {
        self.accused.load(Ordering::Acquire)
    }

    pub fn fail(&self, reason: String) {
        tracing::error!(%reason, "the projection failed");
        self.end(FollowPhase::Failed(reason.into()));
    }

    pub fn close(&self) {
        self.end(FollowPhase::Closed);
    }

    fn end(&self, phase: FollowPhase) {
        self.withdraw();
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
        self.hurry();
    }

    /// Ends the thread's rest.
    fn hurry(&self) {
        *self.hurry.lock().expect(NO_PANIC) = true;
        self.hurried.notify_one();
    }

    /// Counts a reader that waits, and hurries the thread for it.
    pub fn waiting(&self) -> WaitingReader<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.hurry();
        WaitingReader(self)
    }

    /// Rests that long, unless a reader waits.
    pub fn rest(&self, rest: Duration) -> PauseEnd {
        let hurry = self.hurry.lock().expect(NO_PANIC);
        let waits = |hurry: &mut bool| !*hurry && self.waiting.load(Ordering::Acquire) == 0;
        let rested = self.hurried.wait_timeout_while(hurry, rest, waits);
        let (mut hurry, rested) = rested.expect(NO_PANIC);
        *hurry = false;
        if rested.timed_out() { PauseEnd::Whole } else { PauseEnd::Ended }
    }

    /// Waits that long, unless the projection is closed.
    pub fn pause(&self, pause: Duration) {
        let hurry = self.hurry.lock().expect(NO_PANIC);
        let goes_on = |_: &mut bool| !self.is_stopped();
        drop(self.hurried.wait_timeout_while(hurry, pause, goes_on).expect(NO_PANIC));
    }

    /// Tells readers that the store is opened: what was applied stays applied.
    pub fn tell_opening(&self, applied: Seq) {
        self.status.send_modify(|status| {
            status.applied = status.applied.max(applied);
            status.phase = FollowPhase::Opening;
            status.ids_complete = false;
        });
    }

    /// The store, when reads from it are right.
    pub fn readable(&self) -> Result<Arc<Store>, Unavailable> {
        if let Some(store) = &*self.store.read().expect(NO_PANIC) {
            return match store.doubt() {
                None => Ok(Arc::clone(store)),
                Some(_) => Err(Unavailable::Doubt),
            };
        }
        Err(match self.status().phase {
            FollowPhase::CatchingUp | FollowPhase::Ready => Unavailable::Doubt,
            FollowPhase::Closed => Unavailable::Closed,
            FollowPhase::Failed(_) => Unavailable::Failed,
            FollowPhase::Opening => Unavailable::Opening,
            FollowPhase::Rebuilding => Unavailable::Rebuilding,
        })
    }
}

impl Drop for WaitingReader<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

const NO_PANIC: &str = "nothing panics while it holds a lock of the projection";

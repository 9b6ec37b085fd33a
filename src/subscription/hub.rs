//! The hub: what subscribers share; durable groups in.

use tokio::sync::Semaphore;

use crate::record::{Epoch, Record, Seq};
use crate::subscription::backlog::Backlog;
use crate::subscription::dispatcher::{Dispatcher, wake};
use crate::subscription::group::SubscriberGroup;
use crate::subscription::groups::SubscriberGroups;
use crate::subscription::latest::LatestRecords;
use crate::subscription::selector::Selector;
use crate::subscription::subscriber::{Subscriber, SubscriptionStart};
use crate::subscription::window::Window;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

/// Settings of the hub.
#[derive(Clone, Copy, Debug)]
pub struct HubOptions {
    /// Bytes of recent records that a subscriber may be behind and still see each of them.
    pub window_bytes_max: usize,
    /// Identity of this open of the log, for cursors.
    pub epoch: Epoch,
}

/// Reads the whole log from a position: for subscribers that see every version.
pub trait LogSource: Send {
    /// The next records in order, empty at the head. May block on the disk.
    ///
    /// # Errors
    /// The failure as a sentence.
    fn next(&mut self, bytes_max: usize) -> Result<Vec<Record>, String>;

    /// The seq of the last record that was handed out.
    fn position(&self) -> Seq;
}

/// Records that may wait to be told while nobody is there to hear of them.
const IDLE_BACKLOG_MAX: usize = 256;

/// Reads of the log at once, those included whose subscriber has gone: look-ups need the threads
/// and processors too, and a client can ask for such a read with every message.
const LOG_READS_MAX: usize = 4;

/// What subscribers share.
#[derive(Debug)]
pub struct Hub {
    pub(super) log_reads: Arc<Semaphore>,
    pub(super) latest: RwLock<LatestRecords>,
    pub(super) window: RwLock<Window>,
    groups: Mutex<SubscriberGroups>,
    /// Every match up to here is listed in its views.
    pub(super) dispatched_through: AtomicU64,
    /// Matches up to here may never be listed: who stands before must catch up.
    pub(super) lost_through: AtomicU64,
    pub(super) closed: AtomicBool,
    pub(super) epoch: Epoch,
    backlog: Mutex<Backlog>,
    pub(super) arrived: Condvar,
    subscribers: AtomicUsize,
}

impl Hub {
    /// A hub on what the log gave back.
    #[must_use]
    pub fn new(latest: LatestRecords, options: HubOptions) -> Arc<Self> {
        let dispatched_through = AtomicU64::new(latest.head());
        Arc::new(Self {
            log_reads: Arc::new(Semaphore::new(LOG_READS_MAX)),
            latest: RwLock::new(latest),
            window: RwLock::new(Window::new(options.window_bytes_max)),
            groups: Mutex::default(),
            dispatched_through,
            lost_through: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            epoch: options.epoch,
            backlog: Mutex::new(Backlog::new(options.window_bytes_max)),
            arrived: Condvar::new(),
            subscribers: AtomicUsize::new(0),
        })
    }

    /// Takes in a durable group: at once the newest for whoever asks, and told to whoever follows
    /// when it is announced. Never waits for a subscriber.
    pub fn commit(&self, records: &[Arc<Record>]) {
        {
            let mut latest = self.latest.write().unwrap_or_else(PoisonError::into_inner);
            records.iter().for_each(|record| latest.apply(record));
        }
        let mut backlog = self.lock_backlog();
        records.iter().for_each(|record| backlog.push(record.clone()));
    }

    /// Wakes the teller, when there is somebody to tell or much to tell. Whoever subscribes just
    /// now finds in the newest what it is not told.
    pub fn wake_dispatcher(&self) {
        let is_due = self.subscribers.load(Ordering::SeqCst) > 0
            || self.lock_backlog().count() >= IDLE_BACKLOG_MAX;
        if is_due {
            self.arrived.notify_one();
        }
    }

    /// Looks at the newest records.
    pub fn with_latest<T>(&self, look: impl FnOnce(&LatestRecords) -> T) -> T {
        look(&self.latest.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Identity of this open of the log.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How many subscribers there are.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Relaxed)
    }

    /// Begins a subscription.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>, selector: Selector, start: SubscriptionStart) -> Subscriber {
        let group = self.join(selector);
        Subscriber::new(self.clone(), group, start)
    }

    /// The end that tells; one thread runs it.
    #[must_use]
    pub fn dispatcher(self: &Arc<Self>) -> Dispatcher {
        Dispatcher::new(self.clone())
    }

    /// Ends every subscription and the teller.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        {
            let _waiting = self.lock_backlog();
            self.arrived.notify_all();
        }
        self.wake_all();
    }

    /// Whether nobody is told of anything any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(super) fn wake_all(&self) {
        let groups: Vec<_> = self.lock_groups().iter().cloned().collect();
        wake(&groups);
    }

    #[cfg(test)]
    pub(super) fn has_no_groups(&self) -> bool {
        self.lock_groups().is_empty()
    }

    fn join(&self, selector: Selector) -> Arc<SubscriberGroup> {
        self.subscribers.fetch_add(1, Ordering::SeqCst);
        let make = |selector| {
            SubscriberGroup::new(selector, self.dispatched_through.load(Ordering::Acquire))
        };
        self.lock_groups().join(selector, make)
    }

    pub(super) fn leave(&self, group: &SubscriberGroup) {
        self.subscribers.fetch_sub(1, Ordering::Relaxed);
        self.lock_groups().leave(&group.selector);
    }

    pub(super) fn lock_backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_groups(&self) -> MutexGuard<'_, SubscriberGroups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

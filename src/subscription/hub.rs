//! The hub: takes in durable records and holds the state that all subscribers share.

use tokio::sync::Semaphore;

use crate::record::{Epoch, Record};
use crate::subscription::backlog::Backlog;
use crate::subscription::group::SubscriberGroup;
use crate::subscription::groups::SubscriberGroups;
use crate::subscription::latest::LatestRecords;
use crate::subscription::selector::Selector;
use crate::subscription::window::Window;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

/// Settings of the hub.
#[derive(Clone, Copy, Debug)]
pub struct HubOptions {
    /// Bytes of recent records that a subscriber may be behind and still get every record.
    pub window_bytes_max: usize,
    /// Epoch of this open of the log, for cursors.
    pub epoch: Epoch,
}

/// Records in the backlog at which the dispatcher is woken although nobody subscribes.
const IDLE_BACKLOG_MAX: usize = 256;

/// Concurrent reads of the log, including those whose subscriber has left. Look-ups need the
/// threads and processors too, and a client can cause such a read with every message.
const LOG_READS_MAX: usize = 4;

/// The state that subscribers share.
#[derive(Debug)]
pub struct Hub {
    pub(super) log_reads: Arc<Semaphore>,
    pub(super) latest: RwLock<LatestRecords>,
    pub(super) window: RwLock<Window>,
    groups: Mutex<SubscriberGroups>,
    /// Every match up to here is listed in its groups.
    pub(super) dispatched_through: AtomicU64,
    /// Matches up to here may never be listed: subscribers before it must catch up.
    pub(super) lost_through: AtomicU64,
    pub(super) closed: AtomicBool,
    pub(super) epoch: Epoch,
    backlog: Mutex<Backlog>,
    pub(super) arrived: Condvar,
    subscribers: AtomicUsize,
}

impl Hub {
    /// A hub that starts with the latest records restored from the log.
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

    /// Takes in durable records: they are among the latest at once, and followers get them after
    /// [`Hub::wake_dispatcher`]. Never waits for a subscriber.
    pub fn commit(&self, records: &[Arc<Record>]) {
        {
            let mut latest = self.latest.write().unwrap_or_else(PoisonError::into_inner);
            records.iter().for_each(|record| latest.apply(record));
        }
        let mut backlog = self.lock_backlog();
        records.iter().for_each(|record| backlog.push(record.clone()));
    }

    /// Wakes the dispatcher if anybody subscribes or the backlog is long. A subscriber that joins
    /// concurrently finds in the latest records what is not dispatched to it.
    pub fn wake_dispatcher(&self) {
        let is_due = self.subscribers.load(Ordering::SeqCst) > 0
            || self.lock_backlog().count() >= IDLE_BACKLOG_MAX;
        if is_due {
            self.arrived.notify_one();
        }
    }

    /// Calls `look` with the latest records, under a read lock.
    pub fn with_latest<T>(&self, look: impl FnOnce(&LatestRecords) -> T) -> T {
        look(&self.latest.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Epoch of this open of the log.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Number of subscribers.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Relaxed)
    }

    /// Ends every subscription and the dispatcher.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        {
            let _waiting = self.lock_backlog();
            self.arrived.notify_all();
        }
        self.wake_all();
    }

    /// Whether [`Hub::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(super) fn wake_all(&self) {
        let groups: Vec<_> = self.lock_groups().iter().cloned().collect();
        groups.iter().for_each(|group| group.wake());
    }

    #[cfg(test)]
    pub(super) fn has_no_groups(&self) -> bool {
        self.lock_groups().is_empty()
    }

    pub(super) fn join(&self, selector: Selector) -> Arc<SubscriberGroup> {
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

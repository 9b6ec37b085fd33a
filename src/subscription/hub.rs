//! The hub: durable groups in, views told, subscribers woken.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use super::view::View;
use super::waiting::{Arrived, Waiting};
use super::window::Window;
use super::{Interest, Start, Subscriber};
use crate::newest::Newest;
use crate::record::{Epoch, Name, Record, Seq};

/// Settings of the hub.
#[derive(Clone, Copy, Debug)]
pub struct HubOptions {
    /// Bytes of recent records that a subscriber may be behind and still see each of them.
    pub window_bytes_max: usize,
    /// Identity of this open of the log, for cursors.
    pub epoch: Epoch,
}

/// Reads the whole log from a position: for subscribers that see every version.
pub trait Tail: Send {
    /// The next records in order, empty at the head. May block on the disk.
    ///
    /// # Errors
    /// The failure as a sentence.
    fn next(&mut self, bytes_max: usize) -> Result<Vec<Record>, String>;

    /// The seq of the last record that was handed out.
    fn position(&self) -> Seq;
}

/// View evaluations of one pass, some milliseconds: those who join or leave wait for a pass.
const EVALUATIONS_MAX: usize = 1_024;

/// Records that may wait to be told while nobody is there to hear of them.
const UNTOLD_MAX: usize = 256;

/// What subscribers share.
#[derive(Debug)]
pub struct Hub {
    pub(super) newest: RwLock<Newest>,
    pub(super) window: RwLock<Window>,
    views: Mutex<Views>,
    /// Every match up to here is listed in its views.
    pub(super) told: AtomicU64,
    /// Matches up to here may never be listed: who stands before must catch up.
    pub(super) lost_through: AtomicU64,
    pub(super) closed: AtomicBool,
    pub(super) epoch: Epoch,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    subscribers: AtomicUsize,
}

/// Views by what wakes them. A view of exact names only stands under each name, any other is
/// evaluated for every record.
#[derive(Debug, Default)]
struct Views {
    all: HashMap<Interest, (Arc<View>, usize)>,
    by_name: HashMap<Name, Vec<Arc<View>>>,
    by_pattern: Vec<Arc<View>>,
}

/// The end of the hub that takes in durable groups and tells them.
#[derive(Debug)]
pub struct Teller(Arc<Hub>);

impl Hub {
    /// A hub on what the log gave back.
    #[must_use]
    pub fn new(newest: Newest, options: HubOptions) -> Arc<Self> {
        let told = AtomicU64::new(newest.head());
        Arc::new(Self {
            newest: RwLock::new(newest),
            window: RwLock::new(Window::new(options.window_bytes_max)),
            views: Mutex::default(),
            told,
            lost_through: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            epoch: options.epoch,
            waiting: Mutex::new(Waiting::new(options.window_bytes_max)),
            arrived: Condvar::new(),
            subscribers: AtomicUsize::new(0),
        })
    }

    /// Takes in a durable group: at once the newest for whoever asks, and told to whoever follows
    /// when it is announced. Never waits for a subscriber.
    pub fn commit(&self, group: &[Arc<Record>]) {
        {
            let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
            group.iter().for_each(|record| newest.apply(record));
        }
        let mut waiting = self.lock_waiting();
        group.iter().for_each(|record| waiting.push(record.clone()));
    }

    /// Wakes the teller, when there is somebody to tell or much to tell. Whoever subscribes just
    /// now finds in the newest what it is not told.
    pub fn announce(&self) {
        let is_due = self.subscribers.load(Ordering::SeqCst) > 0
            || self.lock_waiting().count() >= UNTOLD_MAX;
        if is_due {
            self.arrived.notify_one();
        }
    }

    /// Looks at the newest records.
    pub fn with_newest<T>(&self, look: impl FnOnce(&Newest) -> T) -> T {
        look(&self.newest.read().unwrap_or_else(PoisonError::into_inner))
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
    pub fn subscribe(self: &Arc<Self>, interest: Interest, start: Start) -> Subscriber {
        let view = self.join(interest);
        Subscriber::new(self.clone(), view, start)
    }

    /// The end that tells; one thread runs it.
    #[must_use]
    pub fn teller(self: &Arc<Self>) -> Teller {
        Teller(self.clone())
    }

    /// Ends every subscription and the teller.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        {
            let _waiting = self.lock_waiting();
            self.arrived.notify_all();
        }
        self.wake_everybody();
    }

    /// Whether nobody is told of anything any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn wake_everybody(&self) {
        let views: Vec<_> = self.lock_views().all.values().map(|(view, _)| view.clone()).collect();
        wake(&views);
    }

    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        let views = self.lock_views();
        views.all.is_empty() && views.by_name.is_empty() && views.by_pattern.is_empty()
    }

    fn join(&self, interest: Interest) -> Arc<View> {
        self.subscribers.fetch_add(1, Ordering::SeqCst);
        let mut views = self.lock_views();
        if let Some((view, members)) = views.all.get_mut(&interest) {
            *members += 1;
            return view.clone();
        }
        let view = Arc::new(View::new(interest.clone(), self.told.load(Ordering::Acquire)));
        match interest.filters().exact_only() {
            Some(names) => {
                for name in names {
                    views.by_name.entry(name.clone()).or_default().push(view.clone());
                }
            }
            None => views.by_pattern.push(view.clone()),
        }
        views.all.insert(interest, (view.clone(), 1));
        view
    }

    pub(super) fn leave(&self, view: &Arc<View>) {
        self.subscribers.fetch_sub(1, Ordering::Relaxed);
        let mut views = self.lock_views();
        let Some((_, members)) = views.all.get_mut(&view.interest) else { return };
        *members -= 1;
        if *members > 0 {
            return;
        }
        views.all.remove(&view.interest);
        match view.interest.filters().exact_only() {
            Some(names) => names.for_each(|name| views.forget(name, view)),
            None => views.by_pattern.retain(|other| !Arc::ptr_eq(other, view)),
        }
    }

    fn lock_waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_views(&self) -> MutexGuard<'_, Views> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Views {
    fn forget(&mut self, name: &Name, view: &Arc<View>) {
        if let Some(views) = self.by_name.get_mut(name) {
            views.retain(|other| !Arc::ptr_eq(other, view));
            if views.is_empty() {
                self.by_name.remove(name);
            }
        }
    }
}

impl Teller {
    /// Tells until the hub closes.
    pub fn run(self) {
        while !self.0.closed.load(Ordering::SeqCst) {
            let arrived = self.wait();
            self.tell(arrived);
        }
    }

    fn wait(&self) -> Arrived {
        let slice = self.slice_records();
        let mut waiting = self.0.lock_waiting();
        while waiting.count() == 0 && !self.0.closed.load(Ordering::SeqCst) {
            waiting = self.0.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.take(slice)
    }

    /// Tells what has arrived, without waiting: for those who drive the hub step by step.
    #[cfg(test)]
    pub fn tell_now(&self) {
        loop {
            let arrived = self.0.lock_waiting().take(self.slice_records());
            if arrived.records.is_empty() {
                return;
            }
            self.tell(arrived);
        }
    }

    /// A burst wakes each subscriber once, as long as its evaluation does not hold up those who
    /// join or leave meanwhile.
    fn slice_records(&self) -> usize {
        (EVALUATIONS_MAX / (1 + self.0.lock_views().by_pattern.len())).max(1)
    }

    fn tell(&self, arrived: Arrived) {
        let Arrived { records, lost_through } = arrived;
        let Some(last) = records.last() else { return };
        let window_first = {
            let mut window = self.0.window.write().unwrap_or_else(PoisonError::into_inner);
            if lost_through.is_some() {
                window.clear();
            }
            records.iter().for_each(|record| window.push(record.clone()));
            window.first().expect("a record was just pushed")
        };
        let mut touched: HashMap<*const View, Arc<View>> = HashMap::new();
        {
            // Held until all is listed: a view that joins meanwhile starts after the last record.
            let views = self.0.lock_views();
            // Before anything is listed: whoever finds what is behind a gap finds the gap, too.
            if let Some(seq) = lost_through {
                self.0.lost_through.store(seq, Ordering::Release);
            }
            for record in &records {
                let named = views.by_name.get(record.event()).into_iter().flatten();
                for view in named.chain(&views.by_pattern) {
                    if view.interest.matches(record) {
                        view.lock().push(record.seq(), window_first);
                        touched.entry(Arc::as_ptr(view)).or_insert_with(|| view.clone());
                    }
                }
            }
            self.0.told.store(last.seq(), Ordering::Release);
        }
        match lost_through {
            Some(_) => self.0.wake_everybody(),
            None => wake(touched.values()),
        }
    }
}

/// Wakers run outside of every lock: a woken task may be polled at once, elsewhere.
fn wake<'a>(views: impl IntoIterator<Item = &'a Arc<View>>) {
    for view in views {
        let wakers = view.lock().wake_all();
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

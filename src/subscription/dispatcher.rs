//! Lists durable records in the groups that match them, and wakes their subscribers.

use std::cell::Cell;

use crate::subscription::backlog::BacklogSlice;
use crate::subscription::hub::Hub;
use crate::sync::atomic::Ordering;
use crate::sync::{Arc, PoisonError};

/// Filter evaluations of one pass, some milliseconds: joining and leaving wait for the pass.
const EVALUATIONS_MAX: usize = 1_024;

/// Matches that are listed before the groups are unlocked for joining and leaving.
/// In tests so few that one pass takes the lock several times.
const LISTED_PER_LOCK_MAX: usize = if cfg!(test) { 2 } else { 4_096 };

/// Dispatches the hub's backlog; one thread runs it.
#[derive(Debug)]
pub struct Dispatcher {
    hub: Arc<Hub>,
    /// Counts passes, from 1.
    pass: Cell<u64>,
}

impl Hub {
    /// The dispatcher of this hub; one thread runs it.
    #[must_use]
    pub fn dispatcher(self: &Arc<Self>) -> Dispatcher {
        Dispatcher { hub: self.clone(), pass: Cell::new(0) }
    }
}

impl Dispatcher {
    /// Dispatches until the hub closes.
    pub fn run(self) {
        while !self.hub.is_closed() {
            let slice = self.wait();
            self.dispatch(slice);
        }
    }

    fn wait(&self) -> BacklogSlice {
        let count_max = self.records_per_pass();
        let mut backlog = self.hub.lock_backlog();
        while backlog.count() == 0 && !self.hub.is_closed() {
            backlog = self.hub.arrived.wait(backlog).unwrap_or_else(PoisonError::into_inner);
        }
        backlog.take(count_max)
    }

    /// Dispatches the backlog without waiting, for tests that drive the hub step by step.
    #[cfg(test)]
    pub fn dispatch_pending(&self) {
        loop {
            let slice = self.hub.lock_backlog().take(self.records_per_pass());
            if slice.records.is_empty() {
                return;
            }
            self.dispatch(slice);
        }
    }

    /// Records of one pass. A pass wakes each subscriber once, so it takes in a burst whole unless
    /// its filter evaluations would delay joining and leaving.
    fn records_per_pass(&self) -> usize {
        (EVALUATIONS_MAX / (1 + self.hub.lock_groups().evaluations())).max(1)
    }

    fn dispatch(&self, slice: BacklogSlice) {
        let hub = &self.hub;
        let BacklogSlice { records, lost_through } = slice;
        if records.is_empty() {
            return;
        }
        let window_first = {
            let mut window = hub.window.write().unwrap_or_else(PoisonError::into_inner);
            if lost_through.is_some() {
                window.clear();
            }
            records.iter().for_each(|record| window.push(record.clone()));
            window.first().expect("a record was just pushed")
        };
        let pass = self.pass.get() + 1;
        self.pass.set(pass);
        let mut to_wake = Vec::new();
        // Before anything is listed: a subscriber that sees a record after the gap sees the gap.
        if let Some(seq) = lost_through {
            hub.lost_through.store(seq, Ordering::Release);
        }
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            // Held until `dispatched_through` covers what is listed: a group that is created next
            // starts after it.
            let groups = hub.lock_groups();
            let mut listed = 0;
            while let Some((record, tail)) = rest.split_first()
                && listed < LISTED_PER_LOCK_MAX
            {
                groups.for_each_match(record, |group| {
                    listed += 1;
                    if group.lock().push(record.seq(), window_first, pass) {
                        to_wake.push(group.clone());
                    }
                });
                hub.dispatched_through.store(record.seq(), Ordering::Release);
                rest = tail;
            }
        }
        match lost_through {
            Some(_) => hub.wake_all(),
            None => to_wake.iter().for_each(|group| group.wake()),
        }
    }
}

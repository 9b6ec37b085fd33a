//! The teller: durable records listed in the views that match them, subscribers woken.

use std::cell::Cell;
use std::task::Waker;

use crate::subscription::backlog::NewGroups;
use crate::subscription::group::SubscriberGroup;
use crate::subscription::hub::Hub;
use crate::sync::atomic::Ordering;
use crate::sync::{Arc, PoisonError};

/// Filter evaluations of one pass, some milliseconds: those who join or leave wait for a pass.
const EVALUATIONS_MAX: usize = 1_024;

/// Matches that are listed before those who join or leave get their turn.
/// Under test so few that a pass has several such turns.
const LISTED_MAX: usize = if cfg!(test) { 2 } else { 4_096 };

/// The end of the hub that takes in durable groups and tells them.
#[derive(Debug)]
pub struct Dispatcher {
    hub: Arc<Hub>,
    /// Counts passes, from 1.
    pass: Cell<u64>,
}

impl Dispatcher {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, pass: Cell::new(0) }
    }

    /// Tells until the hub closes.
    pub fn run(self) {
        while !self.hub.is_closed() {
            let arrived = self.wait();
            self.tell(arrived);
        }
    }

    fn wait(&self) -> NewGroups {
        let slice = self.slice_records();
        let mut waiting = self.hub.lock_waiting();
        while waiting.count() == 0 && !self.hub.is_closed() {
            waiting = self.hub.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.take(slice)
    }

    /// Tells what has arrived, without waiting: for those who drive the hub step by step.
    #[cfg(test)]
    pub fn tell_now(&self) {
        loop {
            let arrived = self.hub.lock_waiting().take(self.slice_records());
            if arrived.records.is_empty() {
                return;
            }
            self.tell(arrived);
        }
    }

    /// A burst wakes each subscriber once, as long as its evaluation does not hold up those who
    /// join or leave meanwhile.
    fn slice_records(&self) -> usize {
        (EVALUATIONS_MAX / (1 + self.hub.lock_views().evaluations())).max(1)
    }

    fn tell(&self, arrived: NewGroups) {
        let hub = &self.hub;
        let NewGroups { records, lost_through } = arrived;
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
        let mut touched = Vec::new();
        // Before anything is listed: whoever finds what is behind a gap finds the gap, too.
        if let Some(seq) = lost_through {
            hub.lost_through.store(seq, Ordering::Release);
        }
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            // Held until what is listed is told: a view that joins then starts behind it.
            let views = hub.lock_views();
            let mut listed = 0;
            while let Some((record, behind)) = rest.split_first()
                && listed < LISTED_MAX
            {
                views.of_record(record, |view| {
                    listed += 1;
                    if view.lock().push(record.seq(), window_first, pass) {
                        touched.push(view.clone());
                    }
                });
                hub.told.store(record.seq(), Ordering::Release);
                rest = behind;
            }
        }
        match lost_through {
            Some(_) => hub.wake_everybody(),
            None => wake(&touched),
        }
    }
}

/// Wakers run outside of every lock: a woken task may be polled at once, elsewhere.
pub(super) fn wake(views: &[Arc<SubscriberGroup>]) {
    for view in views {
        let wakers = view.lock().wake_all();
        wakers.into_iter().for_each(Waker::wake);
    }
}

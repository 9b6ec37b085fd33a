//! A subscriber group: the state that all subscribers with the same selector share.

use std::collections::VecDeque;
use std::task::Waker;

use crate::record;
use crate::record::{Record, Seq};
use crate::subscription::batch::Batch;
use crate::subscription::selector::Selector;
use crate::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Matches that an empty queue keeps capacity for, at 8 bytes each, so that a busy group does not
/// allocate in each pass.
const MATCHES_KEPT: usize = 32;
/// Bytes of JSON up to which a batch is kept for the group's other subscribers.
const BATCH_KEPT_BYTES_MAX: usize = 128 << 10;

/// The recent matches of one selector, and the subscribers to wake.
#[derive(Debug)]
pub(super) struct SubscriberGroup {
    pub selector: Selector,
    /// The digest in the cursors of this group.
    pub digest: record::View,
    queue: Mutex<GroupQueue>,
}

#[derive(Debug)]
pub(super) struct GroupQueue {
    /// Seqs of recent matches, ascending.
    matches: VecDeque<Seq>,
    /// Matches up to here are no longer listed, or never were: subscribers before it must catch up.
    dropped_through: Seq,
    /// The dispatcher's pass that listed the last match.
    pass: u64,
    /// The batch that the first subscriber of a pass got.
    kept: Option<KeptBatch>,
    /// One slot for each subscriber; empty while it is awake.
    wakers: Vec<Option<Waker>>,
    free_slots: Vec<usize>,
    asleep: usize,
}

/// A batch for the other subscribers at the first one's position.
#[derive(Debug)]
struct KeptBatch {
    /// The seq of its first match.
    first: Seq,
    batch: Batch,
    /// Subscribers that have not taken it yet, if all of them are at the first one's position.
    takers_left: usize,
}

impl SubscriberGroup {
    /// A group that lists matches after `head`.
    pub fn new(selector: Selector, head: Seq) -> Self {
        let queue = GroupQueue {
            matches: VecDeque::new(),
            dropped_through: head,
            pass: 0,
            kept: None,
            wakers: Vec::new(),
            free_slots: Vec::new(),
            asleep: 0,
        };
        Self { digest: selector.view(), selector, queue: Mutex::new(queue) }
    }

    /// Wakes every sleeping subscriber, outside of the lock: a woken task may be polled at once on
    /// another thread.
    pub fn wake(&self) {
        let wakers = self.lock().take_wakers();
        wakers.into_iter().for_each(Waker::wake);
    }

    pub fn lock(&self) -> MutexGuard<'_, GroupQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GroupQueue {
    /// Lists a match; true for the first one of a pass.
    pub fn push(&mut self, seq: Seq, window_first: Seq, pass: u64) -> bool {
        self.kept = None;
        let is_first = std::mem::replace(&mut self.pass, pass) != pass;
        if is_first && self.asleep == self.subscribers() {
            // Each subscriber was woken after the last pass and sleeps again, so it has taken
            // everything.
            self.dropped_through = self.matches.back().copied().unwrap_or(self.dropped_through);
            self.matches.clear();
            self.matches.shrink_to(MATCHES_KEPT);
        }
        while let Some(oldest) = self.matches.front().copied() {
            if oldest >= window_first {
                break;
            }
            self.matches.pop_front();
            self.dropped_through = oldest;
        }
        self.matches.push_back(seq);
        is_first
    }

    /// Whether every match after a position is listed.
    pub fn is_complete_after(&self, position: Seq) -> bool {
        self.dropped_through <= position
    }

    /// The matches after a position, collected by `find` for the first subscriber there and shared
    /// with the others.
    pub fn after(
        &mut self,
        position: Seq,
        find: impl FnOnce(&mut dyn Iterator<Item = Seq>) -> Vec<Arc<Record>>,
    ) -> Option<Batch> {
        let from = self.matches.partition_point(|seq| *seq <= position);
        let first = *self.matches.get(from)?;
        if let Some(kept) = &mut self.kept
            && kept.first == first
        {
            let batch = kept.batch.clone();
            kept.takers_left -= 1;
            if kept.takers_left == 0 {
                self.kept = None;
            }
            return Some(batch);
        }
        let batch = Batch::from(find(&mut self.matches.range(from..).copied()));
        let takers_left = self.subscribers() - 1;
        let bytes: usize = batch.iter().map(|record| record.json().len()).sum();
        if takers_left > 0 && bytes <= BATCH_KEPT_BYTES_MAX && !batch.is_empty() {
            self.kept = Some(KeptBatch { first, batch: batch.clone(), takers_left });
        }
        Some(batch)
    }

    pub fn join(&mut self) -> usize {
        self.free_slots.pop().unwrap_or_else(|| {
            self.wakers.push(None);
            self.wakers.len() - 1
        })
    }

    pub fn leave(&mut self, slot: usize) {
        self.asleep -= usize::from(self.wakers[slot].take().is_some());
        self.free_slots.push(slot);
        if self.subscribers() == 0 {
            // After a burst of joins a pass need not visit the slots of all who left.
            (self.wakers, self.free_slots) = (Vec::new(), Vec::new());
        }
        self.drop_kept_if_all_asleep();
    }

    pub fn sleep(&mut self, slot: usize, waker: &Waker) {
        match &mut self.wakers[slot] {
            Some(old) => old.clone_from(waker),
            empty => {
                *empty = Some(waker.clone());
                self.asleep += 1;
            }
        }
        self.drop_kept_if_all_asleep();
    }

    /// A batch that nobody is awake to take would only hold memory.
    fn drop_kept_if_all_asleep(&mut self) {
        if self.asleep == self.subscribers() {
            self.kept = None;
        }
    }

    /// Takes the wakers of all sleeping subscribers.
    fn take_wakers(&mut self) -> Vec<Waker> {
        self.asleep = 0;
        self.wakers.iter_mut().filter_map(Option::take).collect()
    }

    fn subscribers(&self) -> usize {
        self.wakers.len() - self.free_slots.len()
    }
}

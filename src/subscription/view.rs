//! A view: what all subscribers with the same interest share.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::Interest;
use crate::record::Seq;

/// The recent matches of one interest, and the subscribers to wake.
#[derive(Debug)]
pub(super) struct View {
    pub interest: Interest,
    queue: Mutex<Queue>,
}

#[derive(Debug)]
pub(super) struct Queue {
    /// Seqs of recent matches, ascending.
    matches: VecDeque<Seq>,
    /// Matches up to here are no longer listed, or were never: who stands before must catch up.
    dropped_through: Seq,
    /// One place a subscriber.
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl View {
    /// A view that lists matches after `head`.
    pub fn new(interest: Interest, head: Seq) -> Self {
        let queue = Queue {
            matches: VecDeque::new(),
            dropped_through: head,
            wakers: Vec::new(),
            free: Vec::new(),
        };
        Self { interest, queue: Mutex::new(queue) }
    }

    pub fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    pub fn push(&mut self, seq: Seq, window_first: Seq) {
        while let Some(oldest) = self.matches.front().copied() {
            if oldest >= window_first {
                break;
            }
            self.matches.pop_front();
            self.dropped_through = oldest;
        }
        self.matches.push_back(seq);
    }

    /// Matches after a position, or nothing when some may have been dropped.
    pub fn after(&self, position: Seq, count_max: usize) -> Option<Vec<Seq>> {
        if self.dropped_through > position {
            return None;
        }
        let from = self.matches.partition_point(|seq| *seq <= position);
        Some(self.matches.range(from..).take(count_max).copied().collect())
    }

    pub fn join(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.wakers.push(None);
            self.wakers.len() - 1
        })
    }

    pub fn leave(&mut self, place: usize) {
        self.wakers[place] = None;
        self.free.push(place);
    }

    pub fn sleep(&mut self, place: usize, waker: &Waker) {
        match &mut self.wakers[place] {
            Some(old) => old.clone_from(waker),
            empty => *empty = Some(waker.clone()),
        }
    }

    /// Whoever sleeps; each is woken once.
    pub fn wake_all(&mut self) -> Vec<Waker> {
        self.wakers.iter_mut().filter_map(Option::take).collect()
    }
}

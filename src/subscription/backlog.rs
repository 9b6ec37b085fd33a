//! Durable records that are not dispatched yet, bounded in bytes like the window.
//!
//! If the dispatcher cannot keep up, the oldest records are dropped. Subscribers whose position is
//! before them have lagged, and catch up from the latest records or the log.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::record::{Record, Seq};
use crate::subscription::window::weight;

#[derive(Debug)]
pub(super) struct Backlog {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    bytes_max: usize,
    lost_through: Option<Seq>,
}

/// Records that the dispatcher takes in one pass.
#[derive(Debug)]
pub(super) struct BacklogSlice {
    pub records: Vec<Arc<Record>>,
    /// Records up to here, after those taken before, were dropped.
    pub lost_through: Option<Seq>,
}

impl Backlog {
    pub fn new(bytes_max: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, bytes_max, lost_through: None }
    }

    /// Adds a record and drops the oldest ones beyond the bound. The latest always stays, however
    /// large.
    pub fn push(&mut self, record: Arc<Record>) {
        self.bytes += weight(&record);
        self.records.push_back(record);
        while self.bytes > self.bytes_max && self.records.len() > 1 {
            if let Some(oldest) = self.records.pop_front() {
                self.bytes -= weight(&oldest);
                self.lost_through = Some(oldest.seq());
            }
        }
    }

    pub fn take(&mut self, count_max: usize) -> BacklogSlice {
        let count = count_max.min(self.records.len());
        let records: Vec<_> = self.records.drain(..count).collect();
        self.bytes -= records.iter().map(|record| weight(record)).sum::<usize>();
        BacklogSlice { records, lost_through: self.lost_through.take() }
    }

    pub fn count(&self) -> usize {
        self.records.len()
    }
}

//! The shared window of recent records: a subscriber whose position is in it gets every record.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::record::{Record, Seq};

/// Recent records by seq, without gaps, bounded in bytes.
#[derive(Debug)]
pub(super) struct Window {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    bytes_max: usize,
}

/// What a record costs besides its JSON, so that the number of tiny records is bounded too.
const RECORD_OVERHEAD_BYTES: usize = 256;

impl Window {
    pub fn new(bytes_max: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds the record after the last one and drops the oldest ones beyond the bound. The latest
    /// always stays, however large.
    pub fn push(&mut self, record: Arc<Record>) {
        if let Some(last) = self.records.back() {
            assert_eq!(last.seq() + 1, record.seq(), "the log has no gaps");
        }
        self.bytes += weight(&record);
        self.records.push_back(record);
        while self.bytes > self.bytes_max && self.records.len() > 1 {
            self.bytes -= self.records.pop_front().map_or(0, |old| weight(&old));
        }
    }

    /// Drops everything, before a push that leaves a gap.
    pub fn clear(&mut self) {
        self.records.clear();
        self.bytes = 0;
    }

    pub fn find(&self, seq: Seq) -> Option<&Arc<Record>> {
        let index = seq.checked_sub(self.first()?)?;
        self.records.get(usize::try_from(index).ok()?)
    }

    /// The oldest seq that is still here.
    pub fn first(&self) -> Option<Seq> {
        self.records.front().map(|record| record.seq())
    }
}

/// Bytes that a record counts towards a bound.
pub(super) fn weight(record: &Record) -> usize {
    record.json().len() + RECORD_OVERHEAD_BYTES
}

//! Sizes of the histories that are compared.

use broker_tools::workload::Workload;

/// Length of a value in the goal for disk space.
pub const DATA_BYTES: usize = 300;
const BATCH: usize = 1_000;

/// The size of a history.
#[derive(Clone, Copy)]
pub struct Size {
    /// Number of records.
    pub records: usize,
    /// Number of events.
    pub events: usize,
}

/// A short history to compare with; its events have a page of versions, too.
pub const LITTLE: Size = Size { records: 10_000, events: 100 };

/// Values of [`DATA_BYTES`].
pub fn workload(seed: u64) -> Workload {
    Workload::sized(seed, DATA_BYTES)
}

impl Size {
    /// The size of a batch, which divides the number of events.
    pub fn batch(self) -> usize {
        (1..=BATCH.min(self.events)).rev().find(|len| self.events.is_multiple_of(*len)).unwrap_or(1)
    }
}

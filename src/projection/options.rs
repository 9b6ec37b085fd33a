//! The settings of a projection.

/// Settings of a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProjectionOptions {
    /// Bytes of pages that sled keeps in memory.
    pub cache_bytes_max: u64,
    /// Maximum lag, in records, that pauses during a burst of inserts may cause.
    pub burst_lag_records_max: u64,
    /// Inserted records a second that count as a burst.
    pub burst_records_per_second: u64,
    /// Maximum number of records that sled may have to replay while a start waits for the open:
    /// 0.1 s a million. Beyond it the store is opened in the background.
    pub replayed_records_max: u64,
}

impl Default for ProjectionOptions {
    fn default() -> Self {
        Self {
            cache_bytes_max: 64 << 20,
            burst_lag_records_max: 1_000_000,
            // Inserts at this rate take a tenth of a core.
            burst_records_per_second: 4_000,
            replayed_records_max: 500_000,
        }
    }
}

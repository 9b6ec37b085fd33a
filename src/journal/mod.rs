//! The journal: the durable, ordered sequence of records. Everything else is derived from it.
//!
//! **Owns** the data directory's identity and lock, the segment files and their group frames, the
//! watermark, the snapshot file, and recovery after a crash or damage.
//!
//! **Promises**
//! - when [`Journal::append`] returns `Ok`, the whole group is on stable storage, and writing it
//!   began only after the previous group was;
//! - a failed write or sync is final: nothing is appended afterwards;
//! - [`Journal::open`] visits every acknowledged record, in order and unchanged, except those that
//!   a snapshot covers; otherwise it reports the location of the damage and changes nothing. It
//!   cuts only an incomplete last group that nothing shows to have been acknowledged, and
//!   quarantines the bytes;
//! - a [`Reader`] sees all durable records and no others;
//! - a [`Survey`] changes nothing, and yields only records that an open would accept.
//!
//! **Does not** decide, order or interpret records, verify the salted commitments of leaves (the
//! visitor of an open may), know its readers, or retry a failed sync.
//!
//! | folder | contents |
//! | --- | --- |
//! | `format` | the bytes of each file |
//! | `disk` | every operation that changes a file |
//! | `open` | the directory, the lock, the scan of a log and its repair, snapshots |
//! | `write` | the only writer, and preallocation of segments |
//! | `read` | readers and followers of the durable log, record locations |
//! | `offline` | surveys and inventories for commands |

mod disk;
mod error;
mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod offline;
mod open;
mod read;
mod write;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

#[cfg(test)]
pub(crate) use disk::faults::before_sync;
#[cfg(test)]
pub(crate) use disk::simulated;
pub(crate) use error::RESTORE;
pub use error::{AppendError, DirError, JournalError};
pub use offline::inventory::{InventoryItem, ItemKind};
pub use offline::survey::{Survey, SurveyReport};
pub use open::directory::DataDir;
pub use open::snapshot::{Snapshot, SnapshotWriter};
pub use open::unverified::UnverifiedSegments;
pub use read::follower::Follower;
pub use read::location::{LocatedRecord, Location, LocationError, PLACE_BYTES, PackedList};
pub use read::reader::Reader;
pub use write::writer::Journal;

use crate::record::Seq;

/// Default maximum size of a segment in bytes.
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Settings of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// Maximum size of a segment file in bytes; only a group larger than this gets a larger file.
    pub segment_bytes_max: u64,
}

/// What the caller of an open already knows about the log.
#[derive(Clone, Copy)]
pub struct OpenContext<'a> {
    /// A seq known to have been durable; a log that ends before it is damaged.
    pub durable_seq_min: Seq,
    /// Determines the highest seq known to have been durable, which may take seconds. Called only
    /// if the log does not end with an intact group at the watermark or one group after it, as a
    /// killed process leaves it.
    pub confirm_durable: Option<&'a dyn Fn() -> Seq>,
    /// A snapshot whose records need not be read from the log.
    pub snapshot: Option<&'a Snapshot>,
    /// With a snapshot: a seq from which the log is read even if the snapshot covers it.
    pub read_from: Seq,
}

/// An opened journal, and what the open found.
#[derive(Debug)]
pub struct OpenedJournal {
    /// The journal.
    pub journal: Journal,
    /// Segments that the open did not read; they are to be verified later.
    pub unverified: Option<UnverifiedSegments>,
    /// What the open found and did.
    pub report: OpenReport,
}

/// What an open found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// Number of records read.
    pub records_read: u64,
    /// Bytes of segments read, up to the end of the last group.
    pub bytes_read: u64,
    /// Seq of the last record, 0 if there is none.
    pub head: Seq,
    /// Number of groups in the log.
    pub groups: u64,
    /// The incomplete last group, if there was one.
    pub torn: Option<TornTail>,
    /// Bytes rewritten because nothing showed that the previous process had synced them.
    pub rewritten_bytes: u64,
}

/// An incomplete last group, which was cut from the log and quarantined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment from which it was cut.
    pub file: PathBuf,
    /// Offset in the segment at which it began.
    pub offset: u64,
    /// Its length in bytes, without the zeros after it.
    pub bytes: u64,
    /// The file that holds its bytes.
    pub kept_at: PathBuf,
    /// Seq of the last record before it.
    pub last_good_seq: Seq,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { segment_bytes_max: SEGMENT_BYTES_MAX }
    }
}

//! The journal: the durable, ordered sequence of records. It is the truth; everything else is
//! derived from it.
//!
//! **Owns** the data directory's identity and lock, the segment files with their group frames, the
//! high-water mark, and what happens when a log is opened after a crash or after damage.
//!
//! **Promises**
//! - that a group is on stable storage, whole, when [`Journal::append`] returns, and that it was
//!   begun only after the group before it was;
//! - that a failed write or sync is final: nothing is appended after it;
//! - that [`Journal::open`] shows every record that was acknowledged, in order and unchanged, or
//!   that a checkpoint stands for, or refuses with the place of the damage, having changed nothing.
//!   Only a last group that nobody can have seen acknowledged is cut, whole, and kept aside;
//! - that a [`Reader`] sees what is durable, and only that;
//! - that a [`Survey`] changes nothing, and hands out only what an open would.
//!
//! **Does not** decide, order or interpret records, verify the salted commitments of leaves (the
//! visitor of an open may), know who reads, or retry a failed sync.
//!
//! Files, in the order in which a record meets them: `directory`, `lock`, `identity`; `frame`,
//! `segment`, `prepared`, `writer`, `mark`; `scan`, `recovery`, `snapshot`, `earlier`; `survey`,
//! `pieces`; `catalogue`, `reader`, `follower`, `place`.

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

/// Largest segment, unless set otherwise.
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What a journal can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// Size of the largest segment file in bytes; only a group that is larger gets a larger one.
    pub segment_bytes_max: u64,
}

/// What whoever opens a journal knows already.
#[derive(Clone, Copy)]
pub struct OpenContext<'a> {
    /// The highest seq that somebody else knows to have been durable.
    pub durable_seq_min: Seq,
    /// Tells the same, perhaps a higher one, and may take seconds: asked when the log does not end
    /// whole, at the mark or one group behind it, as a killed process leaves it.
    pub confirm_durable: Option<&'a dyn Fn() -> Seq>,
    /// What need not be read.
    pub snapshot: Option<&'a Snapshot>,
    /// With a checkpoint: a seq that has to be read all the same, if it is not after its head.
    pub read_from: Seq,
}

/// A journal that was opened, and what was found.
#[derive(Debug)]
pub struct OpenedJournal {
    /// The journal.
    pub journal: Journal,
    /// What was not read, and is to be verified.
    pub unverified: Option<UnverifiedSegments>,
    /// What opening it found and did.
    pub report: OpenReport,
}

/// What opening a journal found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// Number of records that were read.
    pub records_read: u64,
    /// Bytes of segments that were read, up to the end of the last group.
    pub bytes_read: u64,
    /// Seq of the last record, 0 when there is none.
    pub head: Seq,
    /// Number of groups in the log.
    pub groups: u64,
    /// The group that was begun and never acknowledged, if there was one.
    pub torn: Option<TornTail>,
    /// Bytes written again because nothing showed that the last process had synced them.
    pub rewritten_bytes: u64,
}

/// A last group that was not written whole. It was cut and kept aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment that it was cut from.
    pub file: PathBuf,
    /// Where it began.
    pub offset: u64,
    /// How long it was, without the zeros after it.
    pub bytes: u64,
    /// Where its bytes are kept.
    pub kept_at: PathBuf,
    /// The last seq before it.
    pub last_good_seq: Seq,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { segment_bytes_max: SEGMENT_BYTES_MAX }
    }
}

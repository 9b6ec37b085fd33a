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

#[cfg(test)]
pub(crate) use disk::faults::before_sync;
#[cfg(test)]
pub(crate) use disk::simulated;
pub(crate) use error::RESTORE;
pub use error::{AppendError, DirError, JournalError};
pub use offline::inventory::{InventoryItem, ItemKind};
pub use offline::survey::{Survey, SurveyReport};
pub use open::directory::DataDir;
pub use open::opened::{OpenContext, OpenedJournal, TornTail};
pub use open::snapshot::{Snapshot, SnapshotWriter};
pub use open::unverified::UnverifiedSegments;
pub use read::follower::Follower;
pub use read::location::{LOCATION_BYTES, LocatedRecord, Location, LocationError, PackedList};
pub use read::reader::Reader;
pub use write::writer::{Journal, JournalOptions};

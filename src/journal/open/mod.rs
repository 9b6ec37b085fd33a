//! Opening a log: identify and lock the data directory, scan the segments, repair after a crash.
//!
//! **Owns** creating, checking and locking the data directory, the decision whether a bad end of
//! the log is damage or a torn tail, and the snapshot that lets an open skip segments.
//!
//! **Promises** that nothing in the log is changed before all that an open reads was found good,
//! and that nothing is served before all of it is durable.
//!
//! **Does not** append, interpret records, or decide when a snapshot is due.

pub mod dir_error;
pub mod directory;
pub mod files;
pub mod journal;
pub mod lock;
pub mod log_end;
pub mod opened;
pub mod recovery;
pub mod scan;
pub mod snapshot;
pub mod tail;
pub mod unverified;

//! Opening a log: whose directory it is, what a scan finds, and the repairs after a crash.

pub mod directory;
pub mod journal;
pub mod lock;
pub mod opened;
pub mod recovery;
pub mod scan;
pub mod snapshot;
pub mod unverified;

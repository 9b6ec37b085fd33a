//! TODO journal/open.

pub mod directory;
pub mod lock;
pub mod recovery;
pub mod scan;
pub mod snapshot;
pub mod unverified;

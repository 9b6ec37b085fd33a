//! The start, the background threads, and the end.

pub mod error;
pub mod replay;
pub mod shutdown;
pub mod snapshots;
pub mod start;
pub mod verifier;
pub mod watchdog;
pub mod worker;

//! Reading durable records while the log is written: in order, or one record by its location.
//!
//! **Owns** the durable position that the writer publishes, the index of the segments, followers,
//! and record locations with their one codec.
//!
//! **Promises** that only durable records are returned, and only after their checksums were
//! checked.
//!
//! **Does not** write, repair, or know who reads.

pub mod durable;
pub mod follower;
pub mod index;
pub mod location;
pub mod reader;
pub mod stored_record;

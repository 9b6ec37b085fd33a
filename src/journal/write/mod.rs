//! Appending to the log: the only writer, and preallocation of segments.

pub mod preallocate;
pub mod writer;

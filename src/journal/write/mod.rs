//! TODO journal/write.

pub mod preallocate;
pub mod writer;

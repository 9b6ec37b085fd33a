//! Appending: the one writer, and segments that are zeroed before they are needed.

pub mod preallocate;
pub mod writer;

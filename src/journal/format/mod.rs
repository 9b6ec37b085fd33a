//! The bytes on disk: a codec for each file of a data directory. Only the watermark does I/O, since
//! it is written in place.

pub mod field;
pub mod frame;
pub mod identity;
pub mod segment;
pub mod watermark;

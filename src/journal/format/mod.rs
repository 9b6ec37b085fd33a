//! What lies on disk, as bytes: one codec for each file of a data directory. No I/O but for the
//! watermark, which is written in place.

pub mod frame;
pub mod identity;
pub mod segment;
pub mod watermark;

//! TODO journal/format.

pub mod frame;
pub mod identity;
pub mod segment;
pub mod watermark;

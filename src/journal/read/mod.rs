//! TODO journal/read.

pub mod follower;
pub mod index;
pub mod location;
pub mod reader;

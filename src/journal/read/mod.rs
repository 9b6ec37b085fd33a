//! Reading what is durable while the log is written: in order, or one record by its location.

pub mod follower;
pub mod index;
pub mod location;
pub mod reader;

//! From a directory to a store that can be followed up, or to the reason why it is rebuilt.

pub mod begin;
pub mod data_loss;
pub mod directory;
pub mod progress_file;
pub mod scrub;

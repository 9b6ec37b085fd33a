//! TODO projection/open.

pub mod begin;
pub mod data_loss;
pub mod directory;
pub mod progress_file;
pub mod scrub;

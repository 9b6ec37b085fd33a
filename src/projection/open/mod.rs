//! Opens a store from its directory, or says why it has to be rebuilt.

pub mod begin;
pub mod data_loss;
pub mod directory;
pub mod progress_file;
pub mod scrub;

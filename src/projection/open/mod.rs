//! Opens a store from its directory, or says why it has to be rebuilt.

pub mod data_loss;
pub mod directory;
pub mod opened_store;
pub mod progress_file;
pub mod scrub;
pub mod starting_point;

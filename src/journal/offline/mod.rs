//! TODO journal/offline.

pub mod inventory;
pub mod survey;

//! Reading a log without opening it, for the operator's commands.
//!
//! **Owns** the survey of a log, also while a process writes it, and the inventory of a data
//! directory.
//!
//! **Promises** that nothing in the directory is written, repaired or removed.
//!
//! **Does not** follow a writer: a survey ends at the end that it finds.

pub mod bad_record;
pub mod inventory;
pub mod survey;

//! Reading a log without opening it, for the commands of an operator.

pub mod inventory;
pub mod survey;

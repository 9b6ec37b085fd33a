//! Tests of the order: the contract as one suite, the worlds that it runs against, and the
//! behaviour that only the local order has.

mod contract;
mod determinism;
mod fakes;
mod inline;
mod lag;
mod local_world;
pub mod manual;
mod model;

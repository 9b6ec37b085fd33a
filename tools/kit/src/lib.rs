//! What `broker-bench`, `broker-load` and `broker-torture` share: processes, HTTP, values to insert,
//! and reports of figures with their plot.
//!
//! Knows servers only from outside: it does not depend on the crate `broker`.

#![allow(
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    reason = "a library of these tools only: an error ends the measurement with its sentence"
)]

pub mod cli;
pub mod compile;
pub mod error;
pub mod http;
pub mod plot;
pub mod process;
pub mod quiet;
pub mod report;
pub mod scratch;
pub mod server;
pub mod statistics;
pub mod synced_file;
pub mod workload;

pub use error::{Error, Result};

//! What measurements of servers have in common: processes that serve, what is inserted, figures
//! with their goals, their plot, and how quiet the machine was.
//!
//! The benches themselves stand in the binary; `broker-load` has its own.

pub mod synced_file;
pub mod http;
pub mod plot;
pub mod quiet;
pub mod report;
pub mod process;
pub mod workload;

/// Whatever goes wrong ends a measurement, with a sentence about it.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

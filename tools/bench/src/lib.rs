//! What measurements of servers share: server processes, values to insert, figures with goals,
//! their plot, and how quiet the machine was.

pub mod synced_file;
pub mod http;
pub mod plot;
pub mod quiet;
pub mod report;
pub mod process;
pub mod workload;

/// An error ends the measurement.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

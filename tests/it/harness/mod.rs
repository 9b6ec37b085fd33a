//! Servers and clients for the tests.
//!
//! `server` runs the library's server in this process, `program` runs the built binary. `wire`,
//! `stream` and `socket` are clients that send exactly the given bytes and show exactly the
//! received ones. The rest are steps that several tests share.

pub mod files;
pub mod health;
pub mod overrun;
pub mod program;
pub mod random;
pub mod relay;
pub mod server;
pub mod socket;
pub mod stream;
pub mod wait;
pub mod wire;

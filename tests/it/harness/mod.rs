//! What the tests drive: `server` runs the library's server in this process, `program` the built
//! binary; `wire`, `stream` and `socket` are clients that send and show exactly the given bytes.

pub mod program;
pub mod server;
pub mod socket;
pub mod stream;
pub mod wire;

//! The HTTP interface of a broker.
//!
//! Owns the routes, status codes, wire types and the framing of streams: it converts between HTTP
//! and the calls of [`Broker`](crate::broker::Broker).
//! Promises a problem document (RFC 9457) for every error, including unknown routes and methods.
//! Does not make decisions, and does not know engines or key layouts.

mod client_cursor;
mod codec;
mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod middleware;
mod problem;
mod routes;
mod server;
mod socket;
mod state;

pub use routes::Routes;
pub use routes::openapi::openapi_json;
pub(crate) use server::bind;

//! WebSockets (RFC 6455): one subscription a socket, and what its client says meanwhile.
//!
//! Owns the handshake, the frames both ways, the inserts in flight, pings, and the reason of every
//! end. Promises that a socket costs what an event stream costs: a position and a view, no queue,
//! everything new in one write; that what a client makes it hold is bounded by
//! `BROKER_MAX_BODY_BYTES` and constants here; and that a page of another site gets no socket.
//! Does not know what the routes on it mean: each hands in a [`SocketSession`].

mod close;
mod frames;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handshake;
mod keepalive;
pub mod message;
mod outbox;
mod pending_inserts;
mod session;
mod stream;

pub use close::Closing;
pub use handshake::Handshake;
pub use session::{Format, SocketAction, SocketSession};

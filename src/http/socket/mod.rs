//! WebSockets (RFC 6455): one subscription per socket, and the messages of its client.
//!
//! Owns the handshake, the frames in both directions, pending inserts, pings and close codes.
//! Promises that a socket costs no more than an event stream: a position in a subscriber group, no
//! queue, and one write for everything that is new; that the memory a client can occupy is limited
//! by `BROKER_MAX_BODY_BYTES` and constants in this module; and that pages of other sites are
//! refused.
//! Does not know the routes: each supplies a [`SocketSession`].

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

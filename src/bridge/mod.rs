//! The bridge to RabbitMQ: publishes records to an exchange and inserts the messages of a queue.
//!
//! **Owns** the connections to RabbitMQ, the mapping of records to messages and of messages to
//! inserts, and the state of both directions. Only this module uses lapin.
//!
//! **Promises** that every selected record is published in log order until RabbitMQ confirms it,
//! at least once, from a position that is stored in the log; that a message is acknowledged only
//! when its record is on stable storage, and inserted once if it has an id; that no record goes out
//! that came in, and none comes in that went out; and that memory is bounded however long RabbitMQ
//! is unavailable, because records wait in the log.
//!
//! **Does not** delay inserts, readiness or shutdown, deduplicate what RabbitMQ received twice, or
//! speak TLS. Without the feature `rabbitmq` there is only [`BridgeState`].

#[cfg(feature = "rabbitmq")]
mod backoff;
#[cfg(feature = "rabbitmq")]
mod connection;
#[cfg(feature = "rabbitmq")]
mod direction;
#[cfg(feature = "rabbitmq")]
mod host;
#[cfg(feature = "rabbitmq")]
mod inbound;
#[cfg(feature = "rabbitmq")]
mod intake;
#[cfg(feature = "rabbitmq")]
mod message;
#[cfg(feature = "rabbitmq")]
mod outbound;
#[cfg(feature = "rabbitmq")]
mod position;
mod state;
#[cfg(feature = "rabbitmq")]
mod supervisor;
#[cfg(feature = "rabbitmq")]
mod unconfirmed;

#[cfg(feature = "rabbitmq")]
pub use host::Host;
pub use state::BridgeState;
#[cfg(feature = "rabbitmq")]
pub use supervisor::Bridge;

/// Whether this build includes the bridge.
pub const IS_BUILT: bool = cfg!(feature = "rabbitmq");

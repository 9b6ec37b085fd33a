//! The bridge to RabbitMQ: records go out to an exchange, messages of a queue come in as inserts.
//!
//! **Owns** the connections to RabbitMQ, what a record is as a message and a message as an insert,
//! and how the bridge stands. lapin is known to this module only.
//!
//! **Promises** that every record that is to go out is confirmed by RabbitMQ at least once and in
//! the log's order, from a position that is kept in the log; that a message is acknowledged to
//! RabbitMQ only when its record is on stable storage, and is inserted once when it has an id; that
//! what came in does not go out again, nor what went out come in; and that memory is bounded,
//! however long RabbitMQ is away: the log is what waits.
//!
//! **Does not** hold up inserts, readiness or shutdown, remove what was sent twice from
//! RabbitMQ, or speak TLS. Without the feature `rabbitmq` there is only [`BridgeState`].

#[cfg(feature = "rabbitmq")]
mod backoff;
#[cfg(feature = "rabbitmq")]
mod connection;
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
pub use host::Host;
pub use state::BridgeState;
#[cfg(feature = "rabbitmq")]
pub use supervisor::Bridge;

/// Whether this build has the bridge.
pub const IS_BUILT: bool = cfg!(feature = "rabbitmq");

/// The author of every record that came in: where it is from, kept with it for ever. Nobody else
/// is called so, because users cannot be authenticated yet; whoever adds that refuses the name.
#[cfg(feature = "rabbitmq")]
const AUTHOR: &str = "broker:rabbitmq";

//! The calls of an embedding program and of the routes, a file for each noun.

#[cfg(feature = "rabbitmq")]
pub mod bridge_host;
pub mod consumers;
pub mod id_lookup;
pub mod inserts;
pub mod positions;
pub mod records;
pub mod sink;
pub mod subscribe;

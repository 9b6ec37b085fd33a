//! TODO broker/api.

#[cfg(feature = "rabbitmq")]
pub mod bridge_host;
pub mod consumers;
pub mod id_lookup;
pub mod inserts;
pub mod positions;
pub mod records;
pub mod sink;
pub mod subscribe;

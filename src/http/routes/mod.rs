//! TODO http/routes.

pub mod bare_socket;
pub mod console;
pub mod consume;
pub mod events;
pub mod health;
pub mod history;
pub mod history_list;
pub mod insert;
pub mod latest;
pub mod log;
pub mod openapi;
pub mod produce;
pub mod relay;
pub mod ws;

//! Broker from outside: the real server on any free port, assertions on bytes.
//!
//! `server` runs the library's server in this process, `program` the built binary; `wire`,
//! `stream` and `socket` are clients that send and show exactly the bytes they are told. The rest are tests,
//! a file a part of the contract.

mod harness;

mod audit;
mod cli;
mod damage;
mod events;
mod examples;
mod hardening;
mod insert;
mod library;
mod metrics;
mod openapi;
mod process;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod recovery;
mod relay;
mod snapshot;
mod sockets;
mod tidy;
mod topics;

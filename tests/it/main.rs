//! Black-box tests: a real server on a free port, assertions on the bytes of its answers.
//!
//! `harness` starts servers and talks to them. Every other file or folder tests one part of the
//! contract.

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

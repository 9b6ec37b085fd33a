//! The message relay: clients register, connect, and receive what is published to their topics.
//!
//! `crate::relay` holds the registrations. Publishing is an insert, so a message is a record like
//! any other: durable before it is delivered, visible to every stream that may see it, and part of
//! the history.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod publish;
pub mod register;
pub mod socket;
pub mod user_id;

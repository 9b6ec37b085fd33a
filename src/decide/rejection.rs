//! Why a proposal is rejected, and what the caller should do.

use thiserror::Error;
use uuid::Uuid;

use crate::record::Version;

/// Why nothing was appended. `index` is the number of an event in the batch, from 0.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Rejection {
    /// The batch has no events.
    #[error("the batch is empty: send at least one event")]
    EmptyBatch,
    /// The id was used for another event or by another author.
    #[error("the id {id} was already used for another insert: choose a new one")]
    IdTaken {
        /// The event in the batch.
        index: usize,
        /// The id.
        id: Uuid,
    },
    /// The batch has an id twice.
    #[error("the id {id} is in the batch twice: give every event its own")]
    IdTwice {
        /// The event in the batch that repeats it.
        index: usize,
        /// The id.
        id: Uuid,
    },
    /// Some events of the batch were inserted before and some were not.
    #[error(
        "{seen} of the batch's {len} events were inserted before: retry exactly the batch that \
         was sent, or send the new events in a batch of their own"
    )]
    PartlySeen {
        /// Number of events that were inserted before.
        seen: usize,
        /// Number of events in the batch.
        len: usize,
    },
    /// The position of a new consumer would exceed the limit on consumers.
    #[error("the limit of {limit} consumers is reached: only existing consumers can continue")]
    TooManyConsumers {
        /// The limit.
        limit: usize,
    },
    /// A new event would exceed the limit on events.
    #[error("the limit of {limit} events is reached: only existing events can be inserted")]
    TooManyEvents {
        /// The limit.
        limit: usize,
    },
    /// A new event would exceed the limit on bytes of the latest values.
    #[error(
        "the limit of {limit} bytes of latest values is reached: only existing events can be \
         inserted"
    )]
    TooManyBytes {
        /// The limit in bytes.
        limit: usize,
    },
    /// The latest version is not the expected one.
    #[error("the latest version is {current}, not {expected}: read it and decide again")]
    VersionMismatch {
        /// The event in the batch.
        index: usize,
        /// The version that the caller expected; 0 if the event must not exist.
        expected: Version,
        /// The latest version; 0 if there is none.
        current: Version,
    },
}

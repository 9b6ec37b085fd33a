//! Why a proposal is refused, each with what the caller should do.

use thiserror::Error;
use uuid::Uuid;

use crate::record::Version;

/// Why nothing is appended. `index` counts the batch's events from 0.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Rejection {
    /// The batch holds no event.
    #[error("the batch is empty: send at least one event")]
    EmptyBatch,
    /// The id was used for something else, or by somebody else.
    #[error("the id {id} was already used for another insert: choose a new one")]
    IdTaken {
        /// Which event of the batch.
        index: usize,
        /// The id.
        id: Uuid,
    },
    /// The batch names an id twice.
    #[error("the id {id} stands twice in the batch: give every event its own")]
    IdTwice {
        /// Which event of the batch repeats it.
        index: usize,
        /// The id.
        id: Uuid,
    },
    /// Some of the batch was inserted before, some was not.
    #[error(
        "{seen} of the batch's {len} events were inserted before: retry exactly the batch that \
         was sent, or give the new events a batch of their own"
    )]
    PartlySeen {
        /// How many were inserted before.
        seen: usize,
        /// Length of the batch.
        len: usize,
    },
    /// The position of a new consumer would exceed the limit on consumers.
    #[error("the limit of {limit} consumers is reached: only existing ones go on")]
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
    /// A new event would exceed the limit on bytes of newest values.
    #[error(
        "the newest values fill their limit of {limit} bytes: only existing events can be inserted"
    )]
    TooManyBytes {
        /// The limit in bytes.
        limit: usize,
    },
    /// The newest version is another one than expected.
    #[error("the newest version is {current}, not {expected}: read it and decide again")]
    VersionMismatch {
        /// Which event of the batch.
        index: usize,
        /// What the caller expected; 0 means that the event must not exist.
        expected: Version,
        /// The newest version now; 0 when there is none.
        current: Version,
    },
}

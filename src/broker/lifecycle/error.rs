//! Why a broker does not start.

use std::io;

use thiserror::Error;

use crate::config::ConfigErrors;
use crate::journal::{AppendError, DirError, JournalError};
use crate::order::OrderStartError;
use crate::projection::DataLoss;

/// Why a broker does not start; each a full sentence that says what to change.
#[derive(Debug, Error)]
pub enum StartError {
    /// A bridge is configured, but this build has none.
    #[error(
        "BROKER_RABBITMQ_URL is set, but this broker was built without the feature rabbitmq: build \
         it with `cargo build --release --features rabbitmq`, or unset it"
    )]
    NoBridge,
    /// The first record of this open could not be appended.
    #[error("the log cannot be appended to: {0}")]
    Append(#[from] AppendError),
    /// The machine's clock is before 1970.
    #[error("the machine's clock is before 1970: set it, because records carry its time")]
    Clock,
    /// Unusable settings, all at once.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirError),
    /// The log cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An earlier run, which had already served, found that the log had lost records.
    #[error(transparent)]
    DataLoss(#[from] DataLoss),
    /// A defect of Broker.
    #[error("the start did not finish: {0}")]
    Panicked(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another with PORT or BROKER_HOST")]
    Listen {
        /// The address.
        address: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("a thread cannot be started: {0}; raise the limit on processes")]
    Thread(#[source] io::Error),
}

impl From<OrderStartError> for StartError {
    fn from(error: OrderStartError) -> Self {
        match error {
            OrderStartError::Append(error) => Self::Append(error),
            OrderStartError::Thread(error) => Self::Thread(error),
        }
    }
}

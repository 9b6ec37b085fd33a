//! Why a command failed.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::journal::{AppendError, DirError, JournalError};
use crate::projection::DataLoss;

/// Why a command failed. Each message is a full sentence that says what to change.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// The copy cannot be written.
    #[error("the copy cannot be written: {0}; free some space and run the command again")]
    Append(#[from] AppendError),
    /// The verified data is damaged.
    #[error("{0}")]
    Damage(String),
    /// A directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirError),
    /// The system refused an operation.
    #[error("{doing} {} failed: {source}", path.display())]
    Io {
        /// What the program was doing.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The log cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The reader of standard output, or of a pipe, is gone.
    #[error("the output was closed")]
    Pipe,
    /// The request cannot be carried out as given.
    #[error("{0}")]
    Refused(String),
}

impl Failure {
    /// True if the data that was read is at fault, not the reading.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Damage(_)
            | Self::Directory(DirError::Identity { .. })
            | Self::Journal(
                JournalError::Damage { .. }
                | JournalError::DamagedRecord { .. }
                | JournalError::Record { .. },
            ) => true,
            Self::Append(_)
            | Self::Directory(_)
            | Self::Io { .. }
            | Self::Journal(JournalError::InUse { .. } | JournalError::Io { .. })
            | Self::Pipe
            | Self::Refused(_) => false,
        }
    }
}

impl From<DataLoss> for Failure {
    fn from(loss: DataLoss) -> Self {
        Self::Damage(loss.to_string())
    }
}

/// For `map_err`: names the action and the path.
pub(super) fn io_failure(
    doing: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> Failure {
    let path = path.into();
    move |source| Failure::Io { doing, path, source }
}

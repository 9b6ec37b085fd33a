//! The operator's commands: export, import, backup, restore, verify, rebuild, inspect.
//!
//! **Owns** the messages that an operator reads, the exit codes, the lines of an export, and the
//! rule that a copy appears complete or not at all.
//!
//! **Promises** that all copied data is verified on the way: every checksum, commitment and link of
//! the chain, versions and times; that a directory that is only read is not changed; and that a
//! failure is one full sentence on standard error.
//!
//! **Does not** know how the journal and the projection store their files.
//!
//! Embedding programs call [`operate`] with an [`Operation`], as the command line does.

mod args;
mod backup;
mod export;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod import;
mod inspect;
mod lines;
mod operation;
mod output;
mod rebuild;
mod restore;
mod scratch;
mod sequence;
mod snapshot;
mod target;
mod verify;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use thiserror::Error;

pub use args::Invocation;
pub use operation::{Operation, ReportFormat};

use crate::config::Config;
use crate::journal::{AppendError, DirError, JournalError};
use crate::projection::DataLoss;

/// Exit code when `verify` finds damage, or any other command fails.
const FAILED: u8 = 1;
/// Exit code when `verify` could not check.
const NOT_VERIFIED: u8 = 2;

/// Runs an operator command on the data directory of `config`. Results go to standard output,
/// progress (on a terminal) and failures to standard error. Blocks.
///
/// The exit code is 0 on success. `verify` exits with 1 if it finds damage and with 2 if it could
/// not check; the other commands exit with 1 if they fail.
#[must_use]
pub fn operate(operation: &Operation, config: &Config) -> ExitCode {
    let result = match operation {
        Operation::Backup { to } => backup::run(config, to),
        Operation::Export { to, after } => export::run(config, to, *after),
        Operation::Import { from } => import::run(config, from),
        Operation::Inspect(show) => inspect::run(config, *show),
        Operation::Rebuild => rebuild::run(config),
        Operation::Restore { from } => restore::run(config, from),
        Operation::Verify => verify::run(config),
    };
    let code = match (&result, operation) {
        (Ok(()), _) => return ExitCode::SUCCESS,
        (Err(failure), Operation::Verify) if !failure.is_damage() => NOT_VERIFIED,
        // A reader that closes the pipe early, such as `head`, is not an error.
        (Err(Failure::Pipe), Operation::Inspect(_)) => return ExitCode::SUCCESS,
        (Err(_), _) => FAILED,
    };
    match result {
        Ok(()) | Err(Failure::Pipe) => {}
        Err(failure) => eprintln!("broker: {failure}"),
    }
    ExitCode::from(code)
}

/// Why a command failed. Each message is a full sentence that says what to change.
#[derive(Debug, Error)]
enum Failure {
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
    fn is_damage(&self) -> bool {
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
fn io_failure(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Failure {
    let path = path.into();
    move |source| Failure::Io { doing, path, source }
}

//! The operator's commands: export, import, backup, restore, verify, rebuild, inspect.
//!
//! **Owns** the sentences that an operator reads, the exit codes, the export's lines, and the rule
//! that a copy appears whole or not at all.
//!
//! **Promises** that everything that is copied is verified on the way: every checksum, commitment
//! and link of the chain, versions and times; that a directory that is only read is not changed;
//! and that a failure is one full sentence on standard error.
//!
//! **Does not** know how the journal and the projection keep their files: it asks them.
//!
//! For embedding programs there is one door, [`operate`]; what it needs to be told is an
//! [`Operation`], which the command line makes.

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

/// What [`operate`] exits with when `verify` finds damage, and when anything else fails.
const FAILED: u8 = 1;
/// When `verify` could not be run.
const NOT_VERIFIED: u8 = 2;

/// Runs one of the operator's commands on the data directory of `config`: results go to standard
/// output, progress (on a terminal) and failures to standard error. Blocks.
///
/// The code is 0 when all is well. That of `verify` is 1 when there is damage and 2 when it could
/// not be checked; that of the others is 1 when they failed.
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
        // Whoever reads only the first lines of it wants no more.
        (Err(Failure::Pipe), Operation::Inspect(_)) => return ExitCode::SUCCESS,
        (Err(_), _) => FAILED,
    };
    match result {
        Ok(()) | Err(Failure::Pipe) => {}
        Err(failure) => eprintln!("broker: {failure}"),
    }
    ExitCode::from(code)
}

/// Why a command did not do what it was asked; each a full sentence that says what to change.
#[derive(Debug, Error)]
enum Failure {
    /// A copy cannot be written.
    #[error("the copy cannot be written: {0}; free some space and run the command again")]
    Append(#[from] AppendError),
    /// What was verified is not what it was.
    #[error("{0}")]
    Damage(String),
    /// A directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirError),
    /// The system refused an operation.
    #[error("{doing} {} failed: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Whoever reads standard output, or a pipe, has gone.
    #[error("the output was closed")]
    Pipe,
    /// What was asked for cannot be done with what is there.
    #[error("{0}")]
    Refused(String),
}

impl Failure {
    /// Whether it says something against what was read, rather than against the way it was read.
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

/// For `map_err`: what was being done, and to which path.
fn io_failure(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Failure {
    let path = path.into();
    move |source| Failure::Io { doing, path, source }
}

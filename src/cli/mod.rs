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
mod failure;
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

use std::process::ExitCode;

pub use args::Invocation;
pub use operation::{Operation, ReportFormat};

use crate::cli::failure::Failure;
use crate::config::Config;

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
        Operation::Inspect(format) => inspect::run(config, *format),
        Operation::Rebuild => rebuild::run(config),
        Operation::Restore { from } => restore::run(config, from),
        Operation::Verify => verify::run(config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(operation, &failure),
    }
}

/// Prints a failure and returns the exit code for it.
fn report(operation: &Operation, failure: &Failure) -> ExitCode {
    match (failure, operation) {
        // A reader that closes the pipe early, such as `head`, is not an error.
        (Failure::Pipe, Operation::Inspect(_)) => return ExitCode::SUCCESS,
        (Failure::Pipe, _) => {}
        (failure, _) => eprintln!("broker: {failure}"),
    }
    let is_unchecked = *operation == Operation::Verify && !failure.is_damage();
    ExitCode::from(if is_unchecked { NOT_VERIFIED } else { FAILED })
}

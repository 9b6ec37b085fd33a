//! Errors of a data directory and its journal, each worded for the person who must act on it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use uuid::Uuid;

use crate::record::{RecordError, Seq};

/// How to recover from a damaged log. No single file of a backup can replace a damaged one: a
/// backup has the same records in other groups and segments.
pub(crate) const RESTORE: &str =
    "create a new data directory from a complete backup with broker restore";

/// Why a data directory cannot be used. Nothing in it has been changed.
#[derive(Debug, Error)]
pub enum DirError {
    /// The identity file is damaged.
    #[error(
        "{} is damaged: {what}; copy the file of the same name from any backup of this log: it is \
         identical in all of them",
        path.display()
    )]
    Identity {
        /// The identity file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The directory is not empty and not a data directory.
    #[error(
        "{} is not a data directory of Broker: it holds {entry:?} but no complete identity \
         file; specify an empty or new directory, or restore the identity file if it was lost",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// An entry that Broker does not leave there.
        entry: String,
    },
    /// A system call failed for another reason.
    #[error("{} cannot be used: {doing} failed: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operation.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// Another process, or another handle in this process, uses the directory.
    #[error(
        "{} is in use by {}; stop it first, or specify another directory",
        path.display(), holder(*.pid)
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process that holds the lock, if the lock file names it.
        pid: Option<u32>,
    },
    /// The directory has a format of a newer version.
    #[error(
        "{} has format {format}, but this version of Broker supports only format 0; \
         run the version that wrote it or a newer one",
        path.display()
    )]
    Newer {
        /// The identity file.
        path: PathBuf,
        /// The format that it states.
        format: u32,
    },
    /// There is no log to read.
    #[error(
        "{} holds no log{}; set the data directory with --data-dir or BROKER_DATA_DIR",
        path.display(), if path.exists() { " yet" } else { ": it does not exist" }
    )]
    NoLog {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds another log.
    #[error(
        "{} holds the log {found}, and not the log {wanted}; specify another directory",
        path.display()
    )]
    OtherLog {
        /// The directory.
        path: PathBuf,
        /// The id of its log.
        found: Uuid,
        /// The id of the expected log.
        wanted: Uuid,
    },
    /// The path does not lead to a directory.
    #[error("{} is not a directory; specify a directory for the data", path.display())]
    NotDirectory {
        /// The path.
        path: PathBuf,
    },
    /// Broker may not write to the directory.
    #[error(
        "{} cannot be written: {source}; \
         give the user that runs Broker write permission, or specify another directory",
        path.display()
    )]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Why the journal cannot be opened, read or closed.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The log differs from what was acknowledged. Nothing in it has been changed.
    #[error(
        "the journal is damaged in {} at byte {offset}: {what}; all records up to seq \
         {last_good_seq} are intact, and nothing in the log was changed; {RESTORE}, or start with \
         an empty one",
        file.display()
    )]
    Damage {
        /// The file.
        file: PathBuf,
        /// Offset in the file at which the damage was found.
        offset: u64,
        /// Seq of the last record before it.
        last_good_seq: Seq,
        /// What was found there, and why it cannot be an interrupted write.
        what: String,
    },
    /// A record that was read by its location is damaged.
    #[error(
        "the journal is damaged in {} at byte {offset}: {what}; {RESTORE}",
        file.display()
    )]
    DamagedRecord {
        /// The file.
        file: PathBuf,
        /// Offset in the file at which the record's leaf begins.
        offset: u64,
        /// What was found there.
        what: String,
    },
    /// The journal is already open in this process.
    #[error("the journal in {} is already open in this process", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("{doing} {} failed: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operation.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The visitor refused a record that is intact by the journal's own checks.
    #[error(
        "the record with seq {seq} in {} at byte {offset} cannot be used: {source}",
        file.display()
    )]
    Record {
        /// The file.
        file: PathBuf,
        /// Offset in the file at which its group begins.
        offset: u64,
        /// Seq of the record.
        seq: Seq,
        /// The visitor's error.
        source: RecordError,
    },
}

/// Why a group was not appended.
#[derive(Debug, Error)]
pub enum AppendError {
    /// A write or sync failed. The group may have been stored: only another open can tell. Every
    /// later append is refused.
    #[error("the journal has stopped, and whether the last group was stored is unknown: {0}")]
    Final(#[source] io::Error),
    /// There is no space for another segment. Nothing was stored; the append may be retried.
    #[error("no space is left for the journal; nothing was stored: {0}")]
    NoSpace(#[source] io::Error),
}

/// For `map_err`: adds the operation and its path.
pub fn io_error(
    doing: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.into();
    move |source| JournalError::Io { path, doing, source }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("the process with id {pid}"))
}

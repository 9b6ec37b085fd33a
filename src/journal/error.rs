//! What can go wrong with a data directory and its journal, each as a sentence for the person who
//! must act.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use uuid::Uuid;

use crate::record::{RecordError, Seq};

/// What to do about a damaged log. A single file of a backup is of no use in its place: a backup
/// has the same records in other groups and segments.
pub(crate) const RESTORE: &str =
    "make a new data directory out of a whole backup with broker restore";

/// Why a data directory cannot be used. Nothing in it was changed.
#[derive(Debug, Error)]
pub enum DirError {
    /// The identity file is not what Broker wrote.
    #[error(
        "{} is damaged: {what}; copy the file of that name out of any backup of this log: it is the \
         same in all of them",
        path.display()
    )]
    Identity {
        /// The identity file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The directory holds something and is not one of ours.
    #[error(
        "{} is not a data directory of Broker: it holds {entry:?} but no whole identity file; \
         name an empty or a new directory, or restore the identity file if it was lost",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// One entry that Broker would not have left there.
        entry: String,
    },
    /// The system refused an operation for another reason.
    #[error("{} cannot be used: {doing} failed: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Another process, or another handle in this one, uses the directory.
    #[error(
        "{} is in use by {}; stop it first, or name another directory",
        path.display(), holder(*.pid)
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process that holds the lock, when it has said so.
        pid: Option<u32>,
    },
    /// The directory was written by a newer version.
    #[error(
        "{} has format {format}, and this version of Broker knows only format 0; \
         run the version that wrote it, or a newer one",
        path.display()
    )]
    Newer {
        /// The identity file.
        path: PathBuf,
        /// The format that it names.
        format: u32,
    },
    /// Something is to be read, and there is no log.
    #[error(
        "{} holds no log{}; name the data directory with --data-dir or BROKER_DATA_DIR",
        path.display(), if path.exists() { " yet" } else { ": it does not exist" }
    )]
    NoLog {
        /// The directory.
        path: PathBuf,
    },
    /// The directory is that of another log.
    #[error(
        "{} holds the log {found}, and not the log {wanted}; name another directory",
        path.display()
    )]
    OtherLog {
        /// The directory.
        path: PathBuf,
        /// Its log.
        found: Uuid,
        /// The log that it should have.
        wanted: Uuid,
    },
    /// The path leads to something that is not a directory.
    #[error("{} is not a directory; name a directory for the data", path.display())]
    NotDirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory cannot be written to.
    #[error(
        "{} cannot be written: {source}; \
         give the user that runs Broker the right to write there, or name another directory",
        path.display()
    )]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why the journal cannot be opened, read or closed.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The log is not what was written and acknowledged; nothing in it was changed.
    #[error(
        "the journal is damaged in {} at byte {offset}: {what}; all records up to seq \
         {last_good_seq} are whole, and nothing in the log was changed; {RESTORE}, or start from an \
         empty one",
        file.display()
    )]
    Damage {
        /// The file.
        file: PathBuf,
        /// Where in it the damage was met.
        offset: u64,
        /// The last seq before it.
        last_good_seq: Seq,
        /// What was met there, and why it cannot be an interrupted write.
        what: String,
    },
    /// A record that was read by its place is not what was written.
    #[error(
        "the journal is damaged in {} at byte {offset}: {what}; {RESTORE}",
        file.display()
    )]
    DamagedRecord {
        /// The file.
        file: PathBuf,
        /// Where in it the record's leaf begins.
        offset: u64,
        /// What was met there.
        what: String,
    },
    /// Another journal handle of this process has the directory open.
    #[error("the journal in {} is already open in this process", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// The system refused an operation.
    #[error("{doing} {} failed: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The visitor refused a record that the journal itself finds whole.
    #[error(
        "the record with seq {seq} in {} at byte {offset} cannot be used: {source}",
        file.display()
    )]
    Record {
        /// The file.
        file: PathBuf,
        /// Where its group begins.
        offset: u64,
        /// The record.
        seq: Seq,
        /// What the visitor said.
        source: RecordError,
    },
}

/// Why a group was not appended.
#[derive(Debug, Error)]
pub enum AppendError {
    /// A write or sync failed. The group may have been stored; every later append is refused, and
    /// only opening the journal again tells.
    #[error("the journal stopped, and whether the last group was stored is unknown: {0}")]
    Final(#[source] io::Error),
    /// There is no space for another segment. Nothing was stored; it may be tried again.
    #[error("no space is left for the journal, and nothing was stored: {0}")]
    NoSpace(#[source] io::Error),
}

/// For `map_err`: what was being done, and to which path.
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

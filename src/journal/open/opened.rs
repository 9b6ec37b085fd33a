//! What an open takes and returns.

use std::path::PathBuf;

use crate::journal::open::snapshot::Snapshot;
use crate::journal::open::unverified::UnverifiedSegments;
use crate::journal::write::writer::Journal;
use crate::record::Seq;

/// What the caller of an open already knows about the log.
#[derive(Clone, Copy)]
pub struct OpenContext<'a> {
    /// A seq known to have been durable; a log that ends before it is damaged.
    pub durable_seq_min: Seq,
    /// Determines the highest seq known to have been durable, which may take seconds. Called only
    /// if the log does not end with an intact group at the watermark or one group after it, as a
    /// killed process leaves it.
    pub confirm_durable: Option<&'a dyn Fn() -> Seq>,
    /// A snapshot whose records need not be read from the log.
    pub snapshot: Option<&'a Snapshot>,
    /// With a snapshot: a seq from which the log is read even if the snapshot covers it.
    pub read_from: Seq,
}

/// An opened journal, and what the open found.
#[derive(Debug)]
pub struct OpenedJournal {
    /// The journal.
    pub journal: Journal,
    /// Segments that the open did not read; they are to be verified later.
    pub unverified: Option<UnverifiedSegments>,
    /// What the open found and did.
    pub report: OpenReport,
}

/// What an open found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// Number of records read.
    pub records_read: u64,
    /// Bytes of segments read, up to the end of the last group.
    pub bytes_read: u64,
    /// Seq of the last record, 0 if there is none.
    pub head: Seq,
    /// Number of groups in the log.
    pub groups: u64,
    /// The incomplete last group, if there was one.
    pub torn: Option<TornTail>,
    /// Bytes rewritten because nothing showed that the previous process had synced them.
    pub rewritten_bytes: u64,
}

/// An incomplete last group, which was cut from the log and quarantined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment from which it was cut.
    pub file: PathBuf,
    /// Offset in the segment at which it began.
    pub offset: u64,
    /// Its length in bytes, without the zeros after it.
    pub bytes: u64,
    /// The file that holds its bytes.
    pub kept_at: PathBuf,
    /// Seq of the last record before it.
    pub last_good_seq: Seq,
}

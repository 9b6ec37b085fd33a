//! Parts of the server's errors and log messages that the campaigns look for. They are quotations:
//! when the server's texts change, these have to follow.

use std::path::Path;

/// The warning about a torn tail that was quarantined.
pub const TORN_TAIL: &str = "it was cut and quarantined";
/// The warning about a damaged slot of the watermark.
pub const WATERMARK: &str = "watermark is damaged or missing";
/// The warning about a snapshot that cannot be used.
pub const SNAPSHOT: &str = "the snapshot cannot be used";
/// The error of a second process in a data directory.
pub const IN_USE: &str = "in use";
/// The error of a directory with the identity of another log.
pub const ANOTHER_LOG: &str = "another log";
/// The error of a start without space on the disk.
pub const NO_SPACE: &str = "space";

/// Whether a log contains a warning.
pub fn has_warning(log: &str) -> bool {
    log.contains("\"WARN\"") || log.contains("WARN ")
}

/// Whether an error names a path.
pub fn names(error: &str, path: &Path) -> bool {
    error.contains(&path.display().to_string())
}

/// Whether the error of a damaged journal names this offset in a file.
pub fn names_offset(error: &str, file: &str, offset: usize) -> bool {
    error.contains(&format!("{file} at byte {offset}:"))
}

/// Whether the error of a damaged journal names the last good seq.
pub fn names_last_good_seq(error: &str, seq: u64) -> bool {
    error.contains(&format!("records up to seq {seq} "))
        || error.contains(&format!("up to seq {seq} are"))
}

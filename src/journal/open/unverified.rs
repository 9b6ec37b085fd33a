//! The segments that an open skips because a snapshot covers them, and their verification.
//!
//! Of skipped segments an open checks only names, sizes and headers.
//! [`UnverifiedSegments::verify`] later detects everything that a full open would have detected.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::audit::Digest;
use crate::journal::error::{JournalError, io_error};
use crate::journal::format::segment::{HEADER_BYTES, SegmentHeader};
use crate::journal::open::log_end::{DurabilityEvidence, LogEnd};
use crate::journal::open::scan::{LogScan, ScanStart, SegmentFile};
use crate::journal::open::snapshot::Snapshot;
use crate::record::{RecordError, Seq, StoredRecord};

/// The segments that an open skipped; they are to be verified in the background while serving.
#[derive(Debug)]
pub struct UnverifiedSegments {
    log: Uuid,
    segments: Vec<(Seq, PathBuf)>,
    /// The end that they must lead to.
    end: LogEnd,
}

/// The segments that need not be read: those before the one with the snapshot's head, or with
/// `read_from` if that is lower. `None` if there are none, or their headers do not fit the
/// snapshot.
pub fn skip_covered(
    log: Uuid,
    segments: &[(Seq, PathBuf)],
    snapshot: &Snapshot,
    read_from: Seq,
) -> Option<(ScanStart, UnverifiedSegments)> {
    let seq = snapshot.head().min(read_from);
    let first = segments.partition_point(|(first_seq, _)| *first_seq <= seq).checked_sub(1)?;
    if first == 0 || first >= snapshot.index.segments() {
        return None;
    }
    let mut header = None;
    for (index, (first_seq, path)) in segments[..=first].iter().enumerate() {
        let number = index as u64 + 1;
        let listed = snapshot.index.first_seq(index) == *first_seq;
        let found = read_header(path).ok().flatten()?;
        if !listed || (found.log, found.number, found.first_seq) != (log, number, *first_seq) {
            return None;
        }
        header = Some(found);
    }
    let header = header?;
    let end = LogEnd {
        group: header.first_group.checked_sub(1)?,
        seq: header.first_seq.checked_sub(1)?,
        // The last time is unknown without reading the segment; no time is before 0.
        time_ms: 0,
        chain: header.chain_before,
    };
    let index = snapshot.index.copy().truncated(first);
    let unverified = UnverifiedSegments { log, segments: segments[..first].to_vec(), end };
    Some((ScanStart { end, index, segments: first }, unverified))
}

/// The header of a segment; `None` if it is corrupt or states another size than the file has.
fn read_header(path: &Path) -> io::Result<Option<SegmentHeader>> {
    let mut file = File::open(path)?;
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact(&mut bytes)?;
    let file_bytes = file.metadata()?.len();
    Ok(SegmentHeader::decode(&bytes).ok().filter(|header| header.file_bytes == file_bytes))
}

impl UnverifiedSegments {
    /// Seq of the last skipped record.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.end.seq
    }

    /// Verifies every checksum, chain link and commitment, segment by segment. `go_on` is called
    /// before each segment with the last verified seq, and stops the verification by returning
    /// false. Returns whether everything was verified.
    ///
    /// # Errors
    /// [`JournalError::Damage`] with the location, as from an open that reads everything.
    pub fn verify(&self, go_on: &mut dyn FnMut(Seq) -> bool) -> Result<bool, JournalError> {
        let mut visit =
            |record: &StoredRecord<'_>, _: &Digest| -> Result<(), RecordError> { record.verify() };
        let evidence = DurabilityEvidence::default();
        let mut scan = LogScan::new(self.log, evidence, ScanStart::default(), &mut visit);
        let mut bytes = Vec::new();
        for (first_seq, path) in &self.segments {
            if !go_on(scan.end.seq) {
                return Ok(false);
            }
            read_segment(path, &mut bytes)?;
            let file = SegmentFile { path, first_seq: *first_seq, is_last: false };
            scan.scan_segment(&file, &bytes)?;
        }
        let LogEnd { group, seq, chain, .. } = scan.end;
        if (group, seq, chain) == (self.end.group, self.end.seq, self.end.chain) {
            return Ok(true);
        }
        let what = format!(
            "the log ends here with seq {seq} in group {group}, but the next segment continues \
             from seq {} in group {}",
            self.end.seq, self.end.group
        );
        Err(scan.damage(&scan.segment.path, scan.segment.offset, what))
    }
}

/// Reads a whole segment into `bytes`, which is reused: one segment at a time is in memory.
pub fn read_segment(path: &Path, bytes: &mut Vec<u8>) -> Result<(), JournalError> {
    bytes.clear();
    File::open(path)
        .and_then(|mut file| file.read_to_end(bytes))
        .map(drop)
        .map_err(io_error("reading", path))
}

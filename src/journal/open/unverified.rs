//! What an open may pass over, and the reading of it afterwards.
//!
//! Owns where an open with a checkpoint begins to read: at the segment that holds the checkpoint's
//! head, or an earlier seq that is asked for. Promises that what is passed over has been looked at
//! as far as names, sizes and headers tell, and that [`UnverifiedSegments::verify`] finds whatever a whole
//! open would have found there.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::audit::Digest;
use crate::journal::error::{JournalError, io_error};
use crate::journal::format::segment::{HEADER_BYTES, SegmentHeader};
use crate::journal::open::scan::{DurabilityEvidence, LogEnd, LogScan, ScanStart};
use crate::journal::open::snapshot::Snapshot;
use crate::record::{RecordError, Seq, StoredRecord};

/// The segments that an open passed over: they are to be read, beside the serving.
#[derive(Debug)]
pub struct UnverifiedSegments {
    log: Uuid,
    segments: Vec<(Seq, PathBuf)>,
    /// Where they must lead to.
    end: LogEnd,
}

/// Where to begin, if the checkpoint allows to pass over anything: a segment before which all are
/// in their places.
pub fn skip_covered(
    log: Uuid,
    segments: &[(Seq, PathBuf)],
    snapshot: &Snapshot,
    read_from: Seq,
) -> Option<(usize, ScanStart, UnverifiedSegments)> {
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
        // Nothing before is read, so nothing tells; what follows is not earlier than that.
        time_ms: 0,
        chain: header.chain_before,
    };
    let index = snapshot.index.copy().truncated(first);
    let unverified = UnverifiedSegments { log, segments: segments[..first].to_vec(), end };
    Some((first, ScanStart { end, index, segments: first as u64 }, unverified))
}

/// The header of a segment that has the size that it states.
fn read_header(path: &Path) -> io::Result<Option<SegmentHeader>> {
    let mut file = File::open(path)?;
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact(&mut bytes)?;
    let file_bytes = file.metadata()?.len();
    Ok(SegmentHeader::decode(&bytes).ok().filter(|header| header.file_bytes == file_bytes))
}

impl UnverifiedSegments {
    /// Seq of the last record that was passed over.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.end.seq
    }

    /// Reads it all, one segment after the other: every checksum, link of the chain and
    /// commitment. `go_on` is asked before each segment with the last seq that was verified, and
    /// may end it; the answer tells whether all was read.
    ///
    /// # Errors
    /// [`JournalError::Damage`] names the place, as an open that reads everything would.
    pub fn verify(&self, go_on: &mut dyn FnMut(Seq) -> bool) -> Result<bool, JournalError> {
        let mut visit =
            |record: &StoredRecord<'_>, _: &Digest| -> Result<(), RecordError> { record.verify() };
        let evidence =
            DurabilityEvidence { watermark: None, durable_seq_min: 0, confirm_durable: None };
        let mut scan = LogScan::new(self.log, evidence, ScanStart::default(), &mut visit);
        let mut bytes = Vec::new();
        for (first_seq, path) in &self.segments {
            if !go_on(scan.end.seq) {
                return Ok(false);
            }
            read_segment(path, &mut bytes)?;
            scan.scan_segment(path, *first_seq, &bytes, true)?;
        }
        let LogEnd { group, seq, chain, .. } = scan.end;
        if (group, seq, chain) == (self.end.group, self.end.seq, self.end.chain) {
            return Ok(true);
        }
        let what = format!(
            "the log ends here with seq {seq} in group {group}, and the segment that follows goes \
             on from seq {} in group {}",
            self.end.seq, self.end.group
        );
        Err(scan.damage(&scan.segment.path, scan.segment.offset, what))
    }
}

/// Reads a whole segment in the place of the one before: one at a time is in memory.
pub fn read_segment(path: &Path, bytes: &mut Vec<u8>) -> Result<(), JournalError> {
    bytes.clear();
    File::open(path)
        .and_then(|mut file| file.read_to_end(bytes))
        .map(drop)
        .map_err(io_error("reading", path))
}

//! Reads and checks a log, and distinguishes damage from a torn tail. Changes nothing.
//!
//! - An intact group that does not continue the log is damage: no interrupted write makes one.
//! - A broken group is damage if anything shows that it was acknowledged: a later group or segment,
//!   the watermark, or other durability evidence. A group is only started after the previous one
//!   was synced, so a later one shows that the broken one was complete once.
//! - Any other broken last group is a torn tail.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::audit::{Digest, chain};
use crate::journal::error::JournalError;
use crate::journal::format::frame;
use crate::journal::format::frame::{ALIGN_BYTES, FrameError};
use crate::journal::format::segment::{HEADER_BYTES, SegmentHeader, SegmentHeaderError};
use crate::journal::open::log_end::{DurabilityEvidence, LogEnd};
use crate::journal::read::index::LogIndex;
use crate::journal::read::stored_record::{ErasedPart, stored_record};
use crate::record::{RecordError, Seq, StoredRecord};

/// Receives every record in order, with the chain after it.
pub type RecordVisitor<'v> = dyn FnMut(&StoredRecord<'_>, &Digest) -> Result<(), RecordError> + 'v;

/// A scan in progress and its results so far.
pub struct LogScan<'v> {
    log: Uuid,
    evidence: DurabilityEvidence<'v>,
    visit: &'v mut RecordVisitor<'v>,
    /// The end of what was read so far.
    pub end: LogEnd,
    /// The index of what was read so far.
    pub index: LogIndex,
    /// The last segment that was read.
    pub segment: SegmentEnd,
    /// The torn tail to be cut from it.
    pub torn: Option<TornGroup>,
}

/// The start of a scan: the beginning of the log or of a segment.
#[derive(Debug, Default)]
pub struct ScanStart {
    /// The end of the log before it.
    pub end: LogEnd,
    /// The index of the log before it.
    pub index: LogIndex,
    /// The number of segments before it.
    pub segments: usize,
}

/// The last segment that was read, and the end of its last group.
#[derive(Clone, Debug, Default)]
pub struct SegmentEnd {
    /// The file.
    pub path: PathBuf,
    /// Its number, from 1.
    pub number: u64,
    /// Size of the file.
    pub file_bytes: u64,
    /// End of its last group.
    pub offset: u64,
}

/// A segment to be scanned.
#[derive(Clone, Copy)]
pub struct SegmentFile<'a> {
    /// The file.
    pub path: &'a Path,
    /// The first seq that its name states.
    pub first_seq: Seq,
    /// Whether it is the last segment of the log.
    pub is_last: bool,
}

/// A torn tail of the last segment.
#[derive(Clone, Copy, Debug)]
pub struct TornGroup {
    /// Offset in the segment's file.
    pub offset: u64,
    /// Length without the zeros after it.
    pub bytes: u64,
}

/// Why a group is not accepted.
enum GroupDefect {
    /// It is incomplete or corrupt.
    Broken(String),
    /// It is intact but does not continue the log.
    OutOfSequence(String),
    /// The visitor refused a record.
    Refused(Seq, RecordError),
}

impl From<ErasedPart> for GroupDefect {
    fn from(part: ErasedPart) -> Self {
        Self::Broken(part.to_string())
    }
}

impl From<FrameError> for GroupDefect {
    fn from(fault: FrameError) -> Self {
        Self::Broken(fault.to_string())
    }
}

impl<'v> LogScan<'v> {
    pub fn new(
        log: Uuid,
        evidence: DurabilityEvidence<'v>,
        start: ScanStart,
        visit: &'v mut RecordVisitor<'v>,
    ) -> Self {
        let ScanStart { end, index, segments } = start;
        let segment = SegmentEnd { number: segments as u64, ..SegmentEnd::default() };
        Self { log, evidence, visit, end, index, segment, torn: None }
    }

    /// Scans the next segment; `bytes` is the whole file.
    pub fn scan_segment(
        &mut self,
        file: &SegmentFile<'_>,
        bytes: &[u8],
    ) -> Result<(), JournalError> {
        self.begin_segment(file, bytes)?;
        while let Some(at) = self.next_group_offset(bytes) {
            if self.scan_group(file, bytes, at)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Checks the header of the next segment, which must continue the log.
    pub fn begin_segment(
        &mut self,
        file: &SegmentFile<'_>,
        bytes: &[u8],
    ) -> Result<(), JournalError> {
        let header = self.read_header(file.first_seq, bytes);
        let header = header.map_err(|what| self.damage(file.path, 0, what))?;
        self.segment = SegmentEnd {
            path: file.path.to_owned(),
            number: header.number,
            file_bytes: header.file_bytes,
            offset: HEADER_BYTES as u64,
        };
        self.index.add_segment(file.first_seq);
        Ok(())
    }

    /// Offset of the next group of the segment; `None` if only zeros follow.
    pub fn next_group_offset(&self, bytes: &[u8]) -> Option<usize> {
        // It fits: the offset is at most the length of bytes in memory.
        let at = self.segment.offset as usize;
        bytes.get(at..)?.iter().any(|byte| *byte != 0).then_some(at)
    }

    /// Checks the group at `at` and returns its length; `None` if it is a torn tail.
    pub fn scan_group(
        &mut self,
        file: &SegmentFile<'_>,
        bytes: &[u8],
        at: usize,
    ) -> Result<Option<u64>, JournalError> {
        let offset = at as u64;
        match self.take_group(&bytes[at..]) {
            Ok(frame_bytes) => {
                self.segment.offset += frame_bytes;
                Ok(Some(frame_bytes))
            }
            Err(GroupDefect::Broken(what)) => {
                self.judge_broken_group(file, bytes, at, &what).map(|()| None)
            }
            Err(GroupDefect::OutOfSequence(what)) => Err(self.damage(file.path, offset, what)),
            Err(GroupDefect::Refused(seq, source)) => {
                Err(JournalError::Record { file: file.path.to_owned(), offset, seq, source })
            }
        }
    }

    /// To be called after the last segment: checks that no acknowledged record is missing.
    pub fn finish(&self) -> Result<(), JournalError> {
        match self.evidence.of_data_loss(&self.end, self.torn.is_none()) {
            None => Ok(()),
            Some(why) => {
                let what = format!("the log ends here, but {why}");
                Err(self.damage(&self.segment.path, self.segment.offset, what))
            }
        }
    }

    /// An error for damage behind everything that was read so far.
    pub fn damage(&self, file: &Path, offset: u64, what: String) -> JournalError {
        let file = file.to_owned();
        JournalError::Damage { file, offset, last_good_seq: self.end.seq, what }
    }

    fn read_header(&self, first_seq: Seq, bytes: &[u8]) -> Result<SegmentHeader, String> {
        let header = SegmentHeader::decode(bytes).map_err(|error| match error {
            SegmentHeaderError::Damaged => "the segment's header is corrupt".to_owned(),
            SegmentHeaderError::Newer(format) => {
                format!("the segment has format {format}, which this version does not know")
            }
            SegmentHeaderError::Short => "the file ends within the segment's header".to_owned(),
        })?;
        if header.log != self.log {
            return Err(format!("the segment belongs to another log, {}", header.log));
        }
        if header.first_seq != first_seq {
            return Err(format!(
                "the segment begins with seq {}, but its name states {first_seq}: segment files \
                 were swapped or renamed",
                header.first_seq
            ));
        }
        let number = self.segment.number + 1;
        if header.number != number {
            return Err(format!(
                "this is segment {}, but segment {number} is expected here: one is missing",
                header.number
            ));
        }
        let end = self.end;
        if (header.first_seq, header.first_group) != (end.seq + 1, end.group + 1) {
            return Err(format!(
                "the segment continues with seq {} in group {}, but the log before it ends with \
                 seq {} in group {}",
                header.first_seq, header.first_group, end.seq, end.group
            ));
        }
        if header.chain_before != end.chain {
            return Err("the segment continues another chain".to_owned());
        }
        let (found, stated) = (bytes.len() as u64, header.file_bytes);
        if found != stated {
            return Err(format!("the file has {found} bytes, but its header states {stated}"));
        }
        Ok(header)
    }

    /// Accepts the group at the beginning of `bytes`, whole or not at all; returns its length.
    fn take_group(&mut self, bytes: &[u8]) -> Result<u64, GroupDefect> {
        let group = frame::decode(self.log, bytes)?;
        let (number, first_seq) = (self.end.group + 1, self.end.seq + 1);
        if (group.number, group.first_seq) != (number, first_seq) {
            return Err(GroupDefect::OutOfSequence(format!(
                "found group {} with seq {}, expected group {number} with seq {first_seq}",
                group.number, group.first_seq
            )));
        }
        let entries = group.entries().collect::<Result<Vec<_>, FrameError>>()?;
        let records = entries.iter().map(stored_record).collect::<Result<Vec<_>, ErasedPart>>()?;
        let mut end = LogEnd { group: number, ..self.end };
        let mut chains = Vec::with_capacity(entries.len());
        for entry in &entries {
            if entry.facts.time_ms < end.time_ms {
                let seq = entry.facts.seq;
                return Err(GroupDefect::OutOfSequence(format!(
                    "the time of seq {seq} is before that of the previous record"
                )));
            }
            (end.seq, end.time_ms) = (entry.facts.seq, entry.facts.time_ms);
            end.chain = chain(&end.chain, entry.leaf);
            chains.push(end.chain);
        }
        if end.chain != group.chain_after {
            return Err(GroupDefect::OutOfSequence(format!(
                "group {number} does not continue the chain"
            )));
        }
        if !self.evidence.is_consistent_with(&end) {
            return Err(GroupDefect::OutOfSequence(format!(
                "the watermark was written for a different group {number}"
            )));
        }
        for (record, chain) in records.iter().zip(&chains) {
            (self.visit)(record, chain)
                .map_err(|error| GroupDefect::Refused(self.end.seq + 1, error))?;
            self.end.seq += 1;
        }
        self.end = end;
        self.index.add_group(first_seq, group.frame_bytes());
        Ok(group.frame_bytes())
    }

    /// Decides whether the broken group at `at` is damage or a torn tail.
    fn judge_broken_group(
        &mut self,
        file: &SegmentFile<'_>,
        bytes: &[u8],
        at: usize,
        what: &str,
    ) -> Result<(), JournalError> {
        let why = if !file.is_last {
            Some("a later segment follows".to_owned())
        } else if let Some((number, offset)) = self.find_later_group(bytes, at) {
            Some(format!("group {number} follows at byte {offset}"))
        } else if let Some(offset) = find_bytes_behind(bytes, at) {
            Some(format!("bytes were written behind it, at byte {offset}"))
        } else {
            self.evidence.of_data_loss(&self.end, false)
        };
        if let Some(why) = why {
            return Err(self.damage(file.path, at as u64, format!("{what}, and {why}")));
        }
        let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
        let torn_bytes = (bytes.len() - zeros - at) as u64;
        self.torn = Some(TornGroup { offset: at as u64, bytes: torn_bytes });
        Ok(())
    }

    /// A group behind `at` that was started after the broken one: its number and offset.
    fn find_later_group(&self, bytes: &[u8], at: usize) -> Option<(u64, usize)> {
        let offsets = (at + ALIGN_BYTES..bytes.len()).step_by(ALIGN_BYTES);
        offsets.filter(|at| bytes[*at..].starts_with(&frame::MAGIC)).find_map(|at| {
            let group = frame::decode(self.log, &bytes[at..]).ok()?;
            (group.number > self.end.group).then_some((group.number, at))
        })
    }
}

/// Offset of the first byte behind the end that a broken group states. Its own write ended there,
/// so the byte was written later. An interrupted write leaves the length either intact or
/// unwritten.
fn find_bytes_behind(bytes: &[u8], at: usize) -> Option<usize> {
    let header = bytes[at..].first_chunk()?;
    let end = at + usize::try_from(frame::frame_bytes(header).ok()?).ok()?;
    bytes.get(end..)?.iter().position(|byte| *byte != 0).map(|behind| end + behind)
}

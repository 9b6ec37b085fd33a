//! Reads and checks a log, and distinguishes damage from a torn tail. Changes nothing.
//!
//! - An intact group that does not continue the log is damage: no interrupted write makes one.
//! - A broken group is damage if anything shows that it was acknowledged: a later group or segment,
//!   the watermark, or other durability evidence. A group is only started after the previous one
//!   was synced, so a later one shows that the broken one was complete once.
//! - Any other broken last group is a torn tail.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::audit::{Digest, Salts, chain};
use crate::journal::error::JournalError;
use crate::journal::format::frame;
use crate::journal::format::frame::{ALIGN_BYTES, FrameError, GroupEntry, StoredPart};
use crate::journal::format::segment::{HEADER_BYTES, SegmentHeader, SegmentHeaderError};
use crate::journal::format::watermark::Watermark;
use crate::journal::read::index::LogIndex;
use crate::record::{RecordError, Seq, StoredRecord};

/// Receives every record in order, with the chain after it.
pub type RecordVisitor<'v> = dyn FnMut(&StoredRecord<'_>, &Digest) -> Result<(), RecordError> + 'v;

/// The end of a log or of a prefix of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogEnd {
    /// Number of the last group, 0 when there is none.
    pub group: u64,
    /// Seq of the last record, 0 when there is none.
    pub seq: Seq,
    /// Time of the last record.
    pub time_ms: u64,
    /// Chain after the last record.
    pub chain: Digest,
}

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
    pub segments: u64,
}

/// Evidence from outside the segments of how far the log was durable.
#[derive(Clone, Copy)]
pub struct DurabilityEvidence<'w> {
    /// The watermark.
    pub watermark: Option<Watermark>,
    /// A seq that is known to have been durable.
    pub durable_seq_min: Seq,
    /// Returns a possibly higher seq that was durable. It may take seconds, so it is called only if
    /// the watermark does not settle the question.
    pub confirm_durable: Option<&'w dyn Fn() -> Seq>,
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
        let segment = SegmentEnd { number: segments, ..SegmentEnd::default() };
        Self { log, evidence, visit, end, index, segment, torn: None }
    }

    /// Reads the next segment, whose name states `first_seq`; `bytes` is the whole file.
    pub fn scan_segment(
        &mut self,
        path: &Path,
        first_seq: Seq,
        bytes: &[u8],
        followed: bool,
    ) -> Result<(), JournalError> {
        self.begin_segment(path, first_seq, bytes)?;
        while let Some(at) = self.next_group_offset(bytes) {
            if self.scan_group(bytes, at, followed)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Checks the header of the next segment, which must continue the log.
    pub fn begin_segment(
        &mut self,
        path: &Path,
        first_seq: Seq,
        bytes: &[u8],
    ) -> Result<(), JournalError> {
        let header =
            self.read_header(first_seq, bytes).map_err(|what| self.damage(path, 0, what))?;
        self.segment = SegmentEnd {
            path: path.to_owned(),
            number: header.number,
            file_bytes: header.file_bytes,
            offset: HEADER_BYTES as u64,
        };
        self.index.add_segment(first_seq);
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
        bytes: &[u8],
        at: usize,
        followed: bool,
    ) -> Result<Option<u64>, JournalError> {
        let (file, offset) = (self.segment.path.clone(), at as u64);
        match self.take_group(&bytes[at..]) {
            Ok(frame_bytes) => {
                self.segment.offset += frame_bytes;
                Ok(Some(frame_bytes))
            }
            Err(GroupDefect::Broken(what)) => {
                self.judge_broken_group(bytes, at, what, followed).map(|()| None)
            }
            Err(GroupDefect::OutOfSequence(what)) => Err(self.damage(&file, offset, what)),
            Err(GroupDefect::Refused(seq, source)) => {
                Err(JournalError::Record { file, offset, seq, source })
            }
        }
    }

    /// To be called after the last segment: checks that no acknowledged record is missing.
    pub fn finish(&self) -> Result<(), JournalError> {
        match self.data_loss_evidence(self.torn.is_none()) {
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
        let found = bytes.len() as u64;
        if header.file_bytes != found {
            let stated = header.file_bytes;
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
        let records = entries.iter().map(whole).collect::<Result<Vec<_>, GroupDefect>>()?;
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
        self.compare_with_watermark(&end)?;
        for (record, chain) in records.iter().zip(&chains) {
            (self.visit)(record, chain)
                .map_err(|error| GroupDefect::Refused(self.end.seq + 1, error))?;
            self.end.seq += 1;
        }
        self.end = end;
        self.index.add_group(first_seq, group.frame_bytes());
        Ok(group.frame_bytes())
    }

    /// The group that the watermark names must be the one that it was written for.
    fn compare_with_watermark(&self, end: &LogEnd) -> Result<(), GroupDefect> {
        let marked = self.evidence.watermark.filter(|watermark| watermark.group == end.group);
        if marked.is_none_or(|watermark| (watermark.seq, watermark.chain) == (end.seq, end.chain)) {
            return Ok(());
        }
        Err(GroupDefect::OutOfSequence(format!(
            "the watermark was written for a different group {}",
            end.group
        )))
    }

    /// Decides whether the broken group at `at` is damage or a torn tail.
    fn judge_broken_group(
        &mut self,
        bytes: &[u8],
        at: usize,
        what: String,
        followed: bool,
    ) -> Result<(), JournalError> {
        let why = if followed {
            Some("a later segment follows".to_owned())
        } else if let Some((number, offset)) = self.find_later_group(bytes, at) {
            Some(format!("group {number} follows at byte {offset}"))
        } else if let Some(offset) = Self::find_bytes_behind(bytes, at) {
            Some(format!("bytes were written behind it, at byte {offset}"))
        } else {
            self.data_loss_evidence(false)
        };
        if let Some(why) = why {
            let path = self.segment.path.clone();
            return Err(self.damage(&path, at as u64, format!("{what}, and {why}")));
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

    /// Offset of the first byte behind the end that a broken group states. Its own write ended
    /// there, so the byte was written later. An interrupted write leaves the length either intact
    /// or unwritten.
    fn find_bytes_behind(bytes: &[u8], at: usize) -> Option<usize> {
        let header = bytes[at..].first_chunk()?;
        let end = at + usize::try_from(frame::frame_bytes(header).ok()?).ok()?;
        bytes.get(end..)?.iter().position(|byte| *byte != 0).map(|behind| end + behind)
    }

    /// Why more was acknowledged than was read, if anything shows that. `ends_whole` states whether
    /// the log ends with an intact group.
    fn data_loss_evidence(&self, ends_whole: bool) -> Option<String> {
        let DurabilityEvidence { watermark, durable_seq_min, confirm_durable } = self.evidence;
        let ahead = watermark
            .filter(|watermark| watermark.group > self.end.group || watermark.seq > self.end.seq);
        if let Some(watermark) = ahead {
            return Some(format!("the watermark shows that seq {} was durable", watermark.seq));
        }
        // A killed process leaves at most one group behind the watermark. Only a power cut, which
        // loses the last writes of the watermark, leaves more.
        let is_at_watermark =
            watermark.is_some_and(|watermark| watermark.group + 1 >= self.end.group);
        let confirm = confirm_durable
            .filter(|_| durable_seq_min <= self.end.seq && !(ends_whole && is_at_watermark));
        let durable = confirm.map_or(durable_seq_min, |confirm| confirm().max(durable_seq_min));
        (durable > self.end.seq)
            .then(|| format!("other evidence shows that seq {durable} was durable"))
    }
}

/// The stored record of an entry with both parts. This version never erases a part, so one that is
/// all zeros is corrupt.
fn whole<'a>(entry: &GroupEntry<'a>) -> Result<StoredRecord<'a>, GroupDefect> {
    let seq = entry.facts.seq;
    let erased = |part: &str| GroupDefect::Broken(format!("the {part} of seq {seq} is all zeros"));
    let StoredPart::Whole { salt: meta_salt, bytes: meta } = entry.meta else {
        return Err(erased("meta"));
    };
    let StoredPart::Whole { salt: data_salt, bytes: data } = entry.data else {
        return Err(erased("data"));
    };
    let salts = Salts { meta: meta_salt, data: data_salt };
    Ok(StoredRecord { leaf: entry.leaf, salts, meta, data })
}

//! Maps a seq to an offset in the log: the segments, and an index entry about every MiB.
//!
//! The only structure of the journal that grows with history: 24 bytes an entry and 24 a segment,
//! so 25 MB for a TiB.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Weak};

use crate::journal::format::segment::FIRST_GROUP_AT;
use crate::record::Seq;

/// Minimum distance of two entries of a segment. A reader that looks up a seq reads about this much
/// before it.
const INDEX_ENTRY_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Default)]
pub struct LogIndex {
    segments: Vec<IndexedSegment>,
    entries: Vec<IndexEntry>,
}

/// The start of a group, or of the next one to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupOffset {
    /// Index of the segment.
    pub segment: usize,
    /// Offset in its file.
    pub offset: u64,
}

#[derive(Debug)]
struct IndexedSegment {
    first_seq: Seq,
    /// End of its last durable group.
    end: u64,
    /// The open file while it is in use: all readers of a segment share one descriptor, and a
    /// segment without readers has none.
    file: Weak<File>,
}

#[derive(Clone, Copy, Debug)]
struct IndexEntry {
    first_seq: Seq,
    group: GroupOffset,
}

impl LogIndex {
    /// Adds an empty segment to the end.
    pub fn add_segment(&mut self, first_seq: Seq) {
        self.segments.push(IndexedSegment { first_seq, end: FIRST_GROUP_AT, file: Weak::new() });
    }

    /// Adds a group to the last segment.
    ///
    /// # Panics
    /// When there is no segment.
    pub fn add_group(&mut self, first_seq: Seq, frame_bytes: u64) {
        let segment = self.segments.len() - 1;
        let last = &mut self.segments[segment];
        let group = GroupOffset { segment, offset: last.end };
        last.end += frame_bytes;
        let needs_entry = self.entries.last().is_none_or(|entry| {
            entry.group.segment != segment || group.offset - entry.group.offset >= INDEX_ENTRY_BYTES
        });
        if needs_entry {
            self.entries.push(IndexEntry { first_seq, group });
        }
    }

    /// The start of a group at or before the record with this seq; `None` in an empty log.
    pub fn locate(&self, seq: Seq) -> Option<GroupOffset> {
        let after = self.entries.partition_point(|entry| entry.first_seq <= seq);
        self.entries.get(after.checked_sub(1)?).map(|entry| entry.group)
    }

    /// End of the last durable group of a segment.
    pub fn end(&self, segment: usize) -> u64 {
        self.segments[segment].end
    }

    /// Seq of the first record of a segment, which names its file.
    pub fn first_seq(&self, segment: usize) -> Seq {
        self.segments[segment].first_seq
    }

    /// Bytes of all segments up to the end of their last groups.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end).sum()
    }

    /// The index of only the first `segments` segments.
    pub fn truncated(mut self, segments: usize) -> Self {
        self.segments.truncate(segments);
        self.entries.retain(|entry| entry.group.segment < segments);
        self
    }

    /// A copy without the open files.
    pub fn copy(&self) -> Self {
        let copy = |segment: &IndexedSegment| IndexedSegment { file: Weak::new(), ..*segment };
        Self { segments: self.segments.iter().map(copy).collect(), entries: self.entries.clone() }
    }

    /// The encoding for a snapshot.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |number: u64| bytes.extend_from_slice(&number.to_le_bytes());
        put(self.segments.len() as u64);
        put(self.entries.len() as u64);
        for segment in &self.segments {
            put(segment.first_seq);
            put(segment.end);
        }
        for IndexEntry { first_seq, group } in &self.entries {
            put(*first_seq);
            put(group.segment as u64);
            put(group.offset);
        }
        bytes
    }

    /// Reads an index that [`LogIndex::encode`] wrote. The caller checks the checksum behind it.
    pub fn decode(file: &mut impl Read) -> io::Result<Self> {
        let mut next = || {
            let mut bytes = [0; 8];
            file.read_exact(&mut bytes)?;
            Ok::<u64, io::Error>(u64::from_le_bytes(bytes))
        };
        let (segments, entries) = (next()?, next()?);
        let mut index = Self::default();
        for _ in 0..segments {
            let segment = IndexedSegment { first_seq: next()?, end: next()?, file: Weak::new() };
            index.segments.push(segment);
        }
        for _ in 0..entries {
            let first_seq = next()?;
            let segment = usize::try_from(next()?).map_err(io::Error::other)?;
            index
                .entries
                .push(IndexEntry { first_seq, group: GroupOffset { segment, offset: next()? } });
        }
        Ok(index)
    }

    /// Whether all bytes up to `end` of a segment, counted from 0, belong to durable groups.
    pub fn contains(&self, segment: usize, end: u64) -> bool {
        self.segments.get(segment).is_some_and(|segment| end <= segment.end)
    }

    /// Number of segments.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// The open file of a segment, if it is in use.
    pub fn file(&self, segment: usize) -> Option<Arc<File>> {
        self.segments[segment].file.upgrade()
    }

    /// Makes an open file of a segment available to its other readers.
    pub fn share(&mut self, segment: usize, file: &Arc<File>) {
        self.segments[segment].file = Arc::downgrade(file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seq_is_located_by_the_entry_at_or_before_it() {
        let mut index = LogIndex::default();
        assert_eq!(index.locate(1), None);
        index.add_segment(1);
        assert_eq!(index.locate(1), None);
        for first_seq in (1..100).step_by(10) {
            index.add_group(first_seq, INDEX_ENTRY_BYTES / 2);
        }
        index.add_segment(101);
        index.add_group(101, 80);
        assert_eq!(index.locate(0), None);
        let at = |half_mib: u64| {
            Some(GroupOffset {
                segment: 0,
                offset: FIRST_GROUP_AT + half_mib * INDEX_ENTRY_BYTES / 2,
            })
        };
        assert_eq!(index.locate(1), at(0));
        assert_eq!(index.locate(20), at(0));
        assert_eq!(index.locate(21), at(2));
        assert_eq!(index.locate(100), at(8));
        let second = Some(GroupOffset { segment: 1, offset: FIRST_GROUP_AT });
        assert_eq!(index.locate(101), second);
        assert_eq!(index.locate(u64::MAX), second);
        assert_eq!(index.end(1), FIRST_GROUP_AT + 80);
    }
}

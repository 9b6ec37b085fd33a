//! Locates headers and groups in a journal by docs/reference/FORMAT.md alone, so that campaigns
//! know in advance what a changed byte must lead to.

use std::fs;
use std::path::{Path, PathBuf};

use broker_tools::{Result, ensure};

/// Length of a segment's header.
pub const HEADER_BYTES: usize = 104;

/// A segment file.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its name.
    pub name: String,
    /// Seq of its first record.
    pub first_seq: u64,
    /// Its groups, in order.
    pub groups: Vec<Group>,
    /// Where the last group ends.
    pub end: usize,
    /// Length of the file.
    pub len: usize,
}

/// A group of records.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Its number.
    pub number: u64,
    /// Offset of its first byte.
    pub at: usize,
    /// Offset behind its last byte.
    pub end: usize,
    /// Seq of its first record.
    pub first_seq: u64,
    /// Number of its records.
    pub records: u64,
}

impl Segment {
    /// All segments of a data directory, in order.
    pub fn all(data: &Path) -> Result<Vec<Self>> {
        let mut paths: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(data.join("journal"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "seg") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ensure!(bytes.starts_with(b"\x8aBSEGM\r\n"), "{name} is not a segment");
        let (mut at, mut groups) = (HEADER_BYTES, Vec::new());
        while bytes[at..].starts_with(b"\x8aBGROUP\0") {
            let end = at + number(&bytes, at + 8) as usize;
            groups.push(Group {
                number: number(&bytes, at + 16),
                at,
                end,
                first_seq: number(&bytes, at + 24),
                records: number(&bytes, at + 32) & 0xffff_ffff,
            });
            at = end;
        }
        ensure!(bytes[at..].iter().all(|byte| *byte == 0), "{name} does not end with zeros");
        Ok(Self { name, first_seq: number(&bytes, 40), groups, end: at, len: bytes.len() })
    }

    /// The last seq before the group with the byte at `at`; before the segment if that byte is in
    /// the header.
    pub fn seq_before(&self, at: usize) -> u64 {
        let before = self.groups.iter().rfind(|group| group.end <= at);
        before.map_or(self.first_seq - 1, |group| group.first_seq + group.records - 1)
    }

    /// The offset that a failed check of the byte at `at` names: that of the header, of the group,
    /// or of the end of the groups.
    pub fn verified_offset(&self, at: usize) -> usize {
        let group = self.groups.iter().find(|group| (group.at..group.end).contains(&at));
        if at < HEADER_BYTES { 0 } else { group.map_or(self.end, |group| group.at) }
    }
}

/// Number of the last group that the watermark of a data directory covers.
pub fn watermark_group(data: &Path) -> Result<u64> {
    let bytes = fs::read(data.join("journal/mark"))?;
    let slots = [0, 4096].map(|at| {
        let whole = bytes.get(at..at + 8) == Some(b"\x8aBMARK\r\n");
        if whole { number(&bytes, at + 8) } else { 0 }
    });
    Ok(slots[0].max(slots[1]))
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

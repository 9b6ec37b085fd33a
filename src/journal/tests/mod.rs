//! Tests of the journal as a whole; its parts have tests of their own.

mod append;
mod damage;
mod directory;
mod follow;
mod location;
mod recovery;
mod snapshot;
mod survey;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use uuid::Uuid;

use crate::audit::{Digest, Salts, chain};
use crate::journal::open::opened::OpenReport;
use crate::journal::*;
use crate::record::{Identity, Name, Record, RecordParts, Seq, StoredRecord, Timestamp, User};

/// Small, so that a few groups need several segments.
pub const SEGMENT_BYTES: u64 = 4096;

/// A record that depends only on its seq and the length of its data.
pub fn record(seq: Seq, data_bytes: usize) -> Arc<Record> {
    let data = format!("\"{}\"", "x".repeat(data_bytes));
    let byte = u8::try_from(seq % 255).unwrap() + 1;
    Arc::new(Record::new(RecordParts {
        seq,
        identity: Identity {
            event: Name::parse(&format!("profile.{}", seq % 7)).unwrap(),
            to: seq.is_multiple_of(3).then(|| User::parse("bob").unwrap()),
        },
        version: seq,
        id: Uuid::from_u128(u128::from(seq)),
        time: Timestamp::from_millis(1_700_000_000_000 + seq / 2),
        author: seq.is_multiple_of(2).then(|| User::parse("alice").unwrap()),
        salts: Salts { meta: [byte; 16], data: [255 - byte + 1; 16] },
        data: data.as_bytes(),
    }))
}

/// A group of records after `head`, one for each data length.
pub fn group(head: Seq, data_bytes: &[usize]) -> Vec<Arc<Record>> {
    (head + 1..).zip(data_bytes).map(|(seq, bytes)| record(seq, *bytes)).collect()
}

/// A data directory in a temporary directory.
pub struct TestDirectory {
    dir: TempDir,
}

/// A journal that was opened, and its records.
pub struct OpenedLog {
    pub journal: Journal,
    pub report: OpenReport,
    pub records: Vec<Record>,
}

impl TestDirectory {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A closed journal with one group for each list of data lengths, written in one session.
    pub fn with_groups(groups: &[&[usize]]) -> Self {
        let test_dir = Self::new();
        let mut journal = test_dir.open().journal;
        for lengths in groups {
            journal.append(&group(journal.head(), lengths)).unwrap();
        }
        journal.close().unwrap();
        test_dir
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn journal(&self) -> PathBuf {
        self.path().join("journal")
    }

    pub fn watermark(&self) -> PathBuf {
        self.journal().join("mark")
    }

    /// The segment files in log order.
    pub fn segments(&self) -> Vec<PathBuf> {
        let paths = self.names().into_iter().map(|name| self.journal().join(name));
        paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "seg")).collect()
    }

    /// Sorted names of the files in the journal's directory.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.journal()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub fn data_dir(&self) -> Result<DataDir, DirError> {
        DataDir::open_sized(self.path(), SEGMENT_BYTES)
    }

    pub fn open(&self) -> OpenedLog {
        self.try_open(0).unwrap()
    }

    /// Opens the journal and checks every record that the visitor receives.
    pub fn try_open(&self, durable_seq_min: Seq) -> Result<OpenedLog, JournalError> {
        let dir = self.data_dir().unwrap();
        let options = JournalOptions { segment_bytes_max: SEGMENT_BYTES };
        let mut records = Vec::new();
        let mut chained = [0; 32];
        let mut visit = |stored: &StoredRecord<'_>, after: &Digest| {
            stored.verify()?;
            chained = chain(&chained, stored.leaf);
            assert_eq!(chained, *after);
            records.push(stored.to_record()?);
            Ok(())
        };
        let OpenedJournal { journal, report, .. } =
            Journal::open(&dir, options, durable_seq_min, &mut visit)?;
        assert_eq!(report.records_read, records.len() as u64);
        assert_eq!(report.head, records.last().map_or(0, Record::seq));
        Ok(OpenedLog { journal, report, records })
    }

    /// The error of an open that must be refused as damage; checks that the open changed nothing.
    pub fn refused(&self, durable_seq_min: Seq) -> RefusedOpen {
        let before = self.contents();
        match self.try_open(durable_seq_min) {
            Ok(opened) => panic!("the journal was opened: {:?}", opened.report),
            Err(JournalError::Damage { file, offset, last_good_seq, what }) => {
                assert_eq!(self.contents(), before, "a refused open changes nothing");
                RefusedOpen { file, offset, last_good_seq, what }
            }
            Err(other) => panic!("not refused as damage: {other}"),
        }
    }

    pub fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let names = self.names().into_iter();
        names
            .map(|name| (name.clone(), std::fs::read(self.journal().join(name)).unwrap()))
            .collect()
    }
}

#[derive(Debug)]
pub struct RefusedOpen {
    pub file: PathBuf,
    pub offset: u64,
    pub last_good_seq: Seq,
    pub what: String,
}

/// The records of groups, as owned values.
pub fn flatten(groups: &[Vec<Arc<Record>>]) -> Vec<Record> {
    groups.iter().flatten().map(|record| Record::clone(record)).collect()
}

//! A journal, a projection of it, and a model that every read is compared with.

mod burst;
mod compare;
mod damage;
mod ids;
mod background_open;
mod lifecycle;
mod locations;
mod reads;
mod full_disk;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;
use uuid::Uuid;

use crate::audit::{Digest, Salts, chain};
use crate::journal;
use crate::journal::{DataDir, Journal};
use crate::projection::read::handle::{ProjectionHandle, ProjectionState};
use crate::projection::read::unavailable::Unavailable;
use crate::projection::read::{IdLookup, PageQuery};
use crate::projection::status::{FollowPhase, ProjectionStatus};
use crate::projection::store::{Store, StoreBatch};
use crate::projection::{Projection, ProjectionOptions};
use crate::record::{
    Identity, Name, Record, RecordParts, Seq, Timestamp, User, Version, server_id,
};

/// Long enough for any machine that is not stuck.
const TIMEOUT: Duration = Duration::from_secs(60);

const CACHE: ProjectionOptions = ProjectionOptions {
    cache_bytes_max: 8 << 20,
    burst_lag_records_max: 0,
    burst_records_per_second: 4_000,
    replayed_records_max: 500_000,
};

struct ProjectionWorld {
    root: TempDir,
    data_dir: DataDir,
    journal: Journal,
    model: BTreeMap<Identity, Vec<Record>>,
    /// The chain before the first record, and after each.
    chains: Vec<Digest>,
    time: u64,
    options: ProjectionOptions,
}

impl ProjectionWorld {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(&root.path().join("data")).unwrap();
        let journal =
            Journal::open(&data_dir, journal::JournalOptions::default(), 0, &mut |_, _| Ok(()))
                .unwrap();
        Self {
            root,
            data_dir,
            journal: journal.journal,
            model: BTreeMap::new(),
            chains: vec![[0; 32]],
            time: 1_000,
            options: CACHE,
        }
    }

    /// A world of `count` records of a few events, public and private.
    fn with_records(count: u64) -> Self {
        let mut world = Self::new();
        world.append(&Self::records(0..count));
        world
    }

    fn records(range: Range<u64>) -> Vec<(Identity, Vec<u8>)> {
        let records = range.map(|n| {
            let to = (n % 5 == 0).then_some("ann");
            (identity(&format!("event.{}", n % 7), to), format!("{{\"n\":{n}}}").into_bytes())
        });
        records.collect()
    }

    /// Appends groups of 100. The time of each record is that of the one before or up to 2 ms
    /// later.
    fn append(&mut self, events: &[(Identity, Vec<u8>)]) {
        for events in events.chunks(100) {
            self.append_group(events);
        }
    }

    fn append_group(&mut self, events: &[(Identity, Vec<u8>)]) {
        let mut group = Vec::new();
        for (identity, data) in events {
            let versions = self.model.entry(identity.clone()).or_default();
            let seq = self.chains.len() as Seq;
            self.time += seq % 3;
            let record = Record::new(RecordParts {
                seq,
                identity: identity.clone(),
                version: versions.len() as Version + 1,
                id: id(seq, self.time),
                time: Timestamp::from_millis(self.time),
                author: None,
                salts: Salts { meta: [seq as u8; 16], data: [7; 16] },
                data,
            });
            versions.push(record.clone());
            let before = self.chains.last().unwrap();
            self.chains.push(chain(before, &record.leaf().0.encode()));
            group.push(Arc::new(record));
        }
        self.journal.append(&group).unwrap();
    }

    fn head(&self) -> Seq {
        self.journal.head()
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("projection")
    }

    /// Path of the first store.
    fn store(&self) -> PathBuf {
        self.dir().join("sled-1")
    }

    fn open(&self) -> Projection {
        Projection::open(&self.dir(), self.data_dir.log_id(), self.options)
    }

    fn start(&self) -> ProjectionHandle {
        let projection = self.open();
        let agrees = projection
            .applied()
            .is_some_and(|applied| self.chains.get(applied.seq as usize) == Some(&applied.chain));
        projection.start(self.journal.reader(), agrees).unwrap()
    }

    /// Starts the projection, waits until everything is applied, and closes it.
    fn run_once(&self) {
        let handle = self.start();
        self.wait_settled(&handle);
        handle.close();
    }

    /// Waits until everything is applied and the id index is complete.
    fn wait_settled(&self, handle: &ProjectionHandle) {
        let head = self.head();
        wait_for_status(handle, |status| {
            assert!(!matches!(status.phase, FollowPhase::Failed(_)), "{status:?}");
            status.applied == head && status.ids_complete && status.phase == FollowPhase::Ready
        });
        block_on(handle.reached(head, TIMEOUT)).unwrap();
    }

    /// Makes every read and compares the answers with the model. Returns whether all reads were
    /// answered; a wrong answer panics.
    fn check_reads(&self, handle: &ProjectionHandle) -> bool {
        let mut answers = Answers(true);
        for (identity, records) in &self.model {
            let count = records.len() as Version;
            let latest = answers.record(handle.latest(identity)).flatten();
            if answers.0 {
                let latest = latest.expect("the identity is missing");
                assert_eq!(latest.version, count);
                assert_eq!(latest.number, records[0].seq());
            }
            for (descending, limit) in [(false, 1_000), (true, 1_000), (false, 3)] {
                let query = PageQuery { versions: 1..=Version::MAX, limit, descending };
                if let Some(page) = answers.record(handle.page(identity, &query)) {
                    let mut expected = records.clone();
                    if descending {
                        expected.reverse();
                    }
                    expected.truncate(limit);
                    assert_eq!(page, expected);
                }
            }
            for record in records {
                match answers.record(handle.by_id(&record.id())) {
                    None => {}
                    Some(IdLookup::Found(found)) => {
                        assert_eq!(&found, record);
                        assert!(
                            !id_encodes_location(record.seq()),
                            "an id that encodes its location has no entry"
                        );
                    }
                    Some(IdLookup::NotYet | IdLookup::Absent)
                        if id_encodes_location(record.seq()) => {}
                    Some(IdLookup::NotYet) => answers.0 = false,
                    Some(IdLookup::Absent) => panic!("{record:?} is reported absent"),
                }
            }
        }
        if let Some(page) = answers.record(handle.names(None, usize::MAX, |_| true)) {
            let names: Vec<_> = page.names.iter().map(|(identity, _)| identity).collect();
            assert_eq!(names, self.model.keys().collect::<Vec<_>>());
            assert_eq!(page.next, None);
        }
        answers.0
    }

    /// Starts on whatever the directory holds: no answer on the way is wrong, and in the end every
    /// read is answered.
    fn assert_recovers(&self) {
        let handle = self.start();
        let status = handle.status();
        block_on(handle.reached(self.head(), TIMEOUT)).unwrap();
        retry_on_change(status, || self.check_reads(&handle) && handle.ids_complete());
        self.wait_settled(&handle);
        assert!(self.check_reads(&handle));
        handle.close();
    }

    /// The names of quarantined directories.
    fn quarantined(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.contains(".quarantined-")).collect();
        names.sort();
        names
    }
}

/// Whether every read so far was answered.
struct Answers(bool);

impl Answers {
    fn record<T>(&mut self, answer: Result<T, Unavailable>) -> Option<T> {
        self.0 &= answer.is_ok();
        answer.ok()
    }
}

impl ProjectionHandle {
    fn status(&self) -> watch::Receiver<ProjectionStatus> {
        self.shared().subscribe()
    }
}

/// Whether the record with this seq has an id that encodes its location.
fn id_encodes_location(seq: Seq) -> bool {
    seq.is_multiple_of(3)
}

/// A distinct id for every seq, in no order: multiplying by an odd factor loses nothing. Some look
/// like ids of the server.
fn id(seq: Seq, millis: u64) -> Uuid {
    let millis = Timestamp::from_millis(millis);
    if id_encodes_location(seq) {
        return server_id(seq, millis, [1; 5]);
    } else if seq.is_multiple_of(7) {
        return server_id(seq + 1, millis, [2; 5]);
    }
    Uuid::from_u128(u128::from(seq).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
}

fn identity(event: &str, to: Option<&str>) -> Identity {
    Identity { event: Name::stored(event).unwrap(), to: to.map(|user| User::parse(user).unwrap()) }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Waits until the status satisfies `holds`.
fn wait_for_status(handle: &ProjectionHandle, holds: impl Fn(&ProjectionStatus) -> bool) {
    let mut status = handle.status();
    block_on(async {
        tokio::time::timeout(TIMEOUT, status.wait_for(|status| holds(status)))
            .await
            .expect("the status was not reached in time")
            .unwrap();
    });
}

/// Calls `holds` again after every change of the status that `status` has not seen, until it
/// returns true.
fn retry_on_change(mut status: watch::Receiver<ProjectionStatus>, mut holds: impl FnMut() -> bool) {
    block_on(async {
        while !holds() {
            tokio::time::timeout(TIMEOUT, status.changed())
                .await
                .expect("the condition did not hold in time")
                .unwrap();
        }
    });
}

/// Opens sled on a closed store and changes it.
fn tamper<T>(world: &ProjectionWorld, change: impl FnOnce(&sled::Db) -> T) -> T {
    let (alive, closed) = mpsc::channel();
    let store = Store::open(&world.store(), 8 << 20, alive).unwrap();
    let changed = change(store.db());
    drop(store);
    closed.recv_timeout(TIMEOUT).unwrap_err();
    changed
}

fn put(store: &Store, key: &[u8], value: &[u8]) {
    let mut batch = StoreBatch::default();
    batch.insert(key, value);
    store.apply(batch).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Every non-empty file below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if fs::metadata(&path).unwrap().len() > 0 {
            files.push(path);
        }
    }
    files.sort();
    files
}

//! Compares a projection with the log that it was derived from, entry by entry, for `verify` and
//! `rebuild`.
//!
//! Unlike an open it changes nothing: nothing is quarantined, rebuilt or followed. But sled writes
//! to whatever it opens, so `verify` passes a copy.

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use uuid::Uuid;

use crate::audit::{Digest, chain};
use crate::journal::{JournalError, Reader};
use crate::projection::open::data_loss;
use crate::projection::open::directory::{DirectoryContents, StoreDirectory};
use crate::projection::open::opened_store::OpenedStore;
use crate::projection::read;
use crate::projection::read::{IdLookup, PageQuery, ReadRefusal, StoreView};
use crate::projection::store::keys::{HISTORY, IDS};
use crate::projection::store::position::Applied;
use crate::projection::store::versions::Pointer;
use crate::projection::store::{Store, StoreFault};
use crate::record::{Identity, Record, Seq, is_self_locating};

/// Maximum stored bytes of the log that are held at a time.
const READ_BYTES_MAX: usize = 4 << 20;

/// How long sled may take to release its files.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// There is no projection: the next start builds one.
    Absent,
    /// It continues after the end of the log, as this sentence says, so the log has lost records.
    Ahead(String),
    /// It is not what the log yields.
    Differs {
        /// The difference.
        what: String,
        /// The first record of the log that it is wrong about, if known.
        record: Option<Box<Record>>,
    },
    /// Its files were in use, or still being closed, for some seconds, so it was not compared.
    Held,
    /// It holds exactly the log's records up to here.
    Same(Applied),
}

/// Compares the projection in `dir` with the log, up to its applied position. `progress` is called
/// with the seq that was reached. Blocks.
///
/// # Errors
/// [`JournalError`] when the log cannot be read.
pub fn compare(
    dir: &Path,
    log_id: Uuid,
    cache_bytes_max: u64,
    log: &Reader,
    progress: impl FnMut(Seq),
) -> Result<Comparison, JournalError> {
    with_store(dir, log_id, cache_bytes_max, |store, applied| {
        if applied.seq > log.durable() {
            return Ok(Comparison::Ahead(data_loss::sentence(applied.seq, log.durable())));
        }
        match compare_entries(StoreView { store, log }, applied, progress) {
            Ok(()) => Ok(Comparison::Same(applied)),
            Err(CompareError::Differs(what, record)) => Ok(Comparison::Differs { what, record }),
            Err(CompareError::Log(error)) => Err(error),
        }
    })
}

/// The applied position that the projection in `dir` states.
#[must_use]
pub fn position(dir: &Path, log_id: Uuid, cache_bytes_max: u64) -> Comparison {
    let applied_position = with_store(dir, log_id, cache_bytes_max, |_, applied| {
        Ok::<_, std::convert::Infallible>(Comparison::Same(applied))
    });
    let Ok(position) = applied_position;
    position
}

/// Runs `compare` on the store in `dir`, if it opens and agrees with itself, and waits until it is
/// closed.
fn with_store<E>(
    dir: &Path,
    log_id: Uuid,
    cache_bytes_max: u64,
    compare: impl FnOnce(&Store, Applied) -> Result<Comparison, E>,
) -> Result<Comparison, E> {
    let (alive, closed) = mpsc::channel();
    let (directory, contents) = StoreDirectory::inspect(dir);
    match contents {
        DirectoryContents::Nothing => return Ok(Comparison::Absent),
        DirectoryContents::Foreign => {
            let what = "the directory holds something else".to_owned();
            return Ok(Comparison::Differs { what, record: None });
        }
        DirectoryContents::Store => {}
    }
    let opened = OpenedStore::open(&directory, log_id, cache_bytes_max, alive);
    let differs = |what: String| Comparison::Differs { what, record: None };
    let compared = match opened.found {
        Ok((Some(applied), store)) => compare(&store, applied),
        Ok((None, store)) => {
            drop(store);
            Ok(if opened.was_unwritten {
                Comparison::Absent
            } else {
                differs("it is empty".to_owned())
            })
        }
        Err(StoreFault::Held) => Ok(Comparison::Held),
        Err(fault) => Ok(differs(fault.to_string())),
    };
    if closed.recv_timeout(CLOSE_TIMEOUT) == Err(mpsc::RecvTimeoutError::Timeout) {
        tracing::warn!("sled did not close in time");
    }
    compared
}

enum CompareError {
    Differs(String, Option<Box<Record>>),
    Log(JournalError),
}

impl From<StoreFault> for CompareError {
    fn from(fault: StoreFault) -> Self {
        differs(fault.to_string())
    }
}

impl From<ReadRefusal> for CompareError {
    fn from(refusal: ReadRefusal) -> Self {
        match refusal {
            ReadRefusal::Index(fault) => fault.into(),
            ReadRefusal::Log(error) => Self::Log(error),
        }
    }
}

impl CompareError {
    /// Adds the record that was looked for.
    fn with_record(self, record: &Record) -> Self {
        match self {
            Self::Differs(what, None) => Self::Differs(what, Some(Box::new(record.clone()))),
            other => other,
        }
    }
}

/// What the index has to hold, by the records of the log.
#[derive(Default)]
struct ExpectedIndex {
    pointers: HashMap<Identity, Pointer>,
    ids: u64,
}

impl ExpectedIndex {
    fn add(&mut self, record: &Record) {
        self.ids += u64::from(has_id_entry(record));
        let pointer = self.pointers.entry(record.identity().clone()).or_insert(Pointer {
            number: record.seq(),
            version: 0,
            first_time: record.time(),
            last_time: record.time(),
            seq: 0,
        });
        (pointer.version, pointer.seq) = (record.version(), record.seq());
        pointer.last_time = record.time();
    }
}

/// Checks that every record of the log is found by its version, and by its id unless that encodes
/// its location, that every identity has its pointer, and that there is nothing else.
fn compare_entries(
    view: StoreView<'_>,
    applied: Applied,
    mut progress: impl FnMut(Seq),
) -> Result<(), CompareError> {
    let mut expected = ExpectedIndex::default();
    let (mut seq, mut chain_after) = (0, Digest::default());
    let mut follower = view.log.follow(0);
    while seq < applied.seq {
        let records = follower.next(READ_BYTES_MAX).map_err(CompareError::Log)?;
        if records.is_empty() {
            return Err(differs(format!("the log ends with seq {seq}")));
        }
        for record in records.iter().take_while(|record| record.seq() <= applied.seq) {
            find_record(view, record).map_err(|error| error.with_record(record))?;
            expected.add(record);
            (seq, chain_after) = (record.seq(), next_chain(&chain_after, record));
        }
        progress(seq);
    }
    if chain_after != applied.chain {
        return Err(differs(format!("its chain after seq {seq} differs from the log's")));
    }
    for (identity, pointer) in &expected.pointers {
        if read::latest(view, identity)? != Some(*pointer) {
            let event = identity.event.as_str();
            return Err(differs(format!("the summary of event {event:?} is wrong")));
        }
    }
    // There are no other pointers, because the versions of these add up to the position.
    let blocks = expected.pointers.values().map(Pointer::full_blocks).sum();
    count_entries(view.store, HISTORY, "the history", blocks)?;
    count_entries(view.store, IDS, "the id index", expected.ids)
}

/// Finds a record by its id, if that has an entry, and by its version.
fn find_record(view: StoreView<'_>, record: &Record) -> Result<(), CompareError> {
    if has_id_entry(record) {
        let found = match read::by_id(view, &record.id())? {
            IdLookup::Found(found) => Some(found),
            IdLookup::Absent | IdLookup::NotYet => None,
        };
        if found.as_ref() != Some(record) {
            return Err(differs("its id does not point to it".to_owned()));
        }
    }
    let versions = record.version()..=record.version();
    let query = PageQuery { versions, limit: 1, descending: false };
    if read::page(view, record.identity(), &query)?.as_slice() != std::slice::from_ref(record) {
        return Err(differs("its version does not point to it".to_owned()));
    }
    Ok(())
}

fn count_entries(store: &Store, kind: u8, name: &str, expected: u64) -> Result<(), CompareError> {
    let mut count = 0;
    for entry in store.scan_after(&[kind])? {
        entry?;
        count += 1;
    }
    if count == expected {
        return Ok(());
    }
    Err(differs(format!("{name} has {count} entries, and should have {expected}")))
}

fn has_id_entry(record: &Record) -> bool {
    !is_self_locating(&record.id(), record.seq(), record.time())
}

fn differs(what: String) -> CompareError {
    CompareError::Differs(what, None)
}

fn next_chain(before: &Digest, record: &Record) -> Digest {
    chain(before, &record.leaf().0.encode())
}

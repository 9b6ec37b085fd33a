//! A model of the projection: an index of ids that lags behind the log, goes back to an older
//! position when a process ends, is lost, and is rebuilt. It may be opened after the start, which
//! then relies on a progress file that is before or behind the real position.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::Rng as _;
use rand::rngs::SmallRng;
use uuid::Uuid;

use crate::audit::{Digest, chain};
use crate::broker::api::id_lookup::IdIndex;
use crate::journal::{Location, Reader};
use crate::projection::{Applied, IdLookup, Unavailable};
use crate::record::{Seq, is_self_locating};

/// Clones share the same index.
#[derive(Clone)]
pub struct SimulatedIndex(Arc<Mutex<IndexContents>>);

#[derive(Clone, Default)]
struct IndexContents {
    /// One entry per applied record.
    entries: Vec<IdEntry>,
    by_id: BTreeMap<Uuid, usize>,
    /// How many of them are on disk.
    flushed: usize,
    /// True if all ids were collected, or did not have to be.
    complete: bool,
    /// The position that a start uses while the entries are not open yet.
    progress_file: Option<Applied>,
    /// Reads are refused until this seq is applied.
    readable_from: Seq,
    /// Reader of the current process.
    reader: Option<Reader>,
}

#[derive(Clone)]
struct IdEntry {
    /// Absent if the id encodes its seq.
    id: Option<Uuid>,
    location: Location,
    chain: Digest,
}

impl SimulatedIndex {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(IndexContents { complete: true, ..IndexContents::default() })))
    }

    /// Ends the process: keeps what survives of the index.
    pub fn end(&self, random: &mut SmallRng) {
        let mut contents = self.lock();
        let kept = match random.random_range(0..8) {
            0 => 0,
            1..4 => contents.entries.len(),
            _ => random.random_range(contents.flushed..=contents.entries.len()),
        };
        // Anything between the oldest entry that may be lost and the newest.
        contents.progress_file = None;
        if kept > 0 && random.random_bool(0.4) {
            let seq = random.random_range(contents.flushed.max(1)..=contents.entries.len());
            contents.progress_file = Some(contents.position(seq));
        }
        contents.entries.truncate(kept);
        contents.by_id.retain(|_, at| *at < kept);
        contents.flushed = kept;
        contents.complete = kept == 0;
        contents.reader = None;
    }

    /// The position that an open gets.
    pub fn applied(&self) -> Option<Applied> {
        let contents = self.lock();
        let last =
            || (!contents.entries.is_empty()).then(|| contents.position(contents.entries.len()));
        contents.progress_file.or_else(last)
    }

    /// The last seq that it has evidence of.
    pub fn reached_seq(&self) -> Seq {
        let contents = self.lock();
        contents.progress_file.map_or(0, |applied| applied.seq).max(contents.entries.len() as Seq)
    }

    /// Follows this log from now on.
    pub fn follow(&self, reader: Reader) {
        let mut contents = self.lock();
        contents.reader = Some(reader);
        contents.readable_from = contents.progress_file.map_or(0, |applied| applied.seq);
        contents.complete &= contents.progress_file.is_none();
    }

    /// The position that the order gets.
    pub fn applied_seq(&self) -> Seq {
        let contents = self.lock();
        contents.readable_from.max(contents.entries.len() as Seq)
    }

    /// True if it knows every id of a log with this many records.
    pub fn is_ready(&self, records: usize) -> bool {
        let contents = self.lock();
        contents.complete && contents.is_readable() && contents.entries.len() == records
    }

    /// Applies a few more records of the log.
    pub fn step(&self, random: &mut SmallRng) {
        let mut contents = self.lock();
        let Some(reader) = contents.reader.clone() else { return };
        if contents.progress_file.is_some() && random.random_bool(0.5) {
            // It is still being opened.
            return;
        }
        contents.progress_file = None;
        let bytes_max = random.random_range(1..8_000);
        let located = reader.follow(contents.entries.len() as Seq).next_located(bytes_max);
        for located in located.expect("an intact log can be read") {
            let id = located.meta().id;
            let before = contents.entries.last().map_or([0; 32], |last| last.chain);
            let id = (!is_self_locating(&id, located.seq(), located.time())).then_some(id);
            let at = contents.entries.len();
            if let Some(id) = id {
                let twice = contents.by_id.insert(id, at);
                assert_eq!(twice, None, "ids are unique in the log");
            }
            let chain = chain(&before, &located.leaf);
            contents.entries.push(IdEntry { id, location: located.location, chain });
        }
        if random.random_bool(0.3) {
            contents.flushed = contents.entries.len();
        }
        if random.random_bool(0.8) && contents.is_readable() {
            contents.complete = true;
        }
    }

    /// An independent copy.
    pub fn copy(&self) -> Self {
        let copy = IndexContents { reader: None, ..self.lock().clone() };
        assert!(copy.entries.iter().filter(|entry| entry.id.is_some()).count() == copy.by_id.len());
        Self(Arc::new(Mutex::new(copy)))
    }

    fn lock(&self) -> MutexGuard<'_, IndexContents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IndexContents {
    /// The position after this many entries, at least one.
    fn position(&self, entries: usize) -> Applied {
        let chain = self.entries[entries - 1].chain;
        Applied { seq: entries as Seq, chain, ..Applied::default() }
    }

    fn is_readable(&self) -> bool {
        self.progress_file.is_none() && self.entries.len() as Seq >= self.readable_from
    }
}

impl IdIndex for SimulatedIndex {
    fn applied(&self) -> Seq {
        self.applied_seq()
    }

    fn by_id(&self, id: &Uuid) -> Result<IdLookup, Unavailable> {
        let contents = self.lock();
        if !contents.is_readable() {
            return Err(Unavailable::Opening);
        }
        let Some(at) = contents.by_id.get(id) else {
            return Ok(if contents.complete { IdLookup::Absent } else { IdLookup::NotYet });
        };
        let reader = contents.reader.as_ref().ok_or(Unavailable::Closed)?;
        let record = reader.read_at(&contents.entries[*at].location);
        Ok(IdLookup::Found(record.expect("an intact log can be read")))
    }
}

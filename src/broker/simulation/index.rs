//! The model of the projection: an index of ids that lags behind the log, goes back to an older
//! position when a process ends, is lost, and is built again; and that is opened after the start,
//! which then goes by a milestone, before or behind what there is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::Rng as _;
use rand::rngs::SmallRng;
use uuid::Uuid;

use crate::audit::{Digest, chain};
use crate::broker::api::id_lookup::IdIndex;
use crate::journal::{Location, Reader};
use crate::projection::{Applied, IdLookup, Unavailable};
use crate::record::{Seq, names_place};

/// Clones mean the same one.
#[derive(Clone)]
pub struct SimulatedIndex(Arc<Mutex<IndexContents>>);

#[derive(Clone, Default)]
struct IndexContents {
    /// Of every record that is applied.
    entries: Vec<IdEntry>,
    by_id: BTreeMap<Uuid, usize>,
    /// How many of them are on the disk of the store.
    flushed: usize,
    /// Whether the walk through the ids is done, or was not needed.
    complete: bool,
    /// What a start goes by instead of the entries, which it has not opened.
    progress_file: Option<Applied>,
    /// Nothing can be read before it is there.
    told: Seq,
    /// Of the process that runs.
    reader: Option<Reader>,
}

#[derive(Clone)]
struct IdEntry {
    /// Absent when the id names its place.
    id: Option<Uuid>,
    place: Location,
    chain: Digest,
}

impl SimulatedIndex {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(IndexContents { complete: true, ..IndexContents::default() })))
    }

    /// What survives of it when the process ends now.
    pub fn end(&self, random: &mut SmallRng) {
        let mut held = self.lock();
        let kept = match random.random_range(0..8) {
            0 => 0,
            1..4 => held.entries.len(),
            _ => random.random_range(held.flushed..=held.entries.len()),
        };
        // As old as the oldest entries that may be lost, and as new as the newest.
        held.progress_file = None;
        if kept > 0 && random.random_bool(0.4) {
            let seq = random.random_range(held.flushed.max(1)..=held.entries.len());
            held.progress_file = Some(held.position(seq));
        }
        held.entries.truncate(kept);
        held.by_id.retain(|_, at| *at < kept);
        held.flushed = kept;
        held.complete = kept == 0;
        held.reader = None;
    }

    /// What an open is told.
    pub fn applied(&self) -> Option<Applied> {
        let held = self.lock();
        let last = || (!held.entries.is_empty()).then(|| held.position(held.entries.len()));
        held.progress_file.or_else(last)
    }

    /// How far it really is.
    pub fn prove(&self) -> Seq {
        let held = self.lock();
        held.progress_file
            .map_or(0, |progress_file| progress_file.seq)
            .max(held.entries.len() as Seq)
    }

    /// The log that it follows from now on.
    pub fn follow(&self, reader: Reader) {
        let mut held = self.lock();
        held.reader = Some(reader);
        held.told = held.progress_file.map_or(0, |progress_file| progress_file.seq);
        held.complete &= held.progress_file.is_none();
    }

    /// What it tells the order.
    pub fn applied_seq(&self) -> Seq {
        let held = self.lock();
        held.told.max(held.entries.len() as Seq)
    }

    /// Whether it knows every id of a log of so many records.
    pub fn is_ready(&self, records: usize) -> bool {
        let held = self.lock();
        held.complete && held.can_be_read() && held.entries.len() == records
    }

    /// Applies some more of the log.
    pub fn step(&self, random: &mut SmallRng) {
        let mut held = self.lock();
        let Some(reader) = held.reader.clone() else { return };
        if held.progress_file.is_some() && random.random_bool(0.5) {
            // It is being opened.
            return;
        }
        held.progress_file = None;
        let bytes_max = random.random_range(1..8_000);
        let located = reader.follow(held.entries.len() as Seq).next_located(bytes_max);
        for located in located.expect("the log can be read where it is not damaged") {
            let id = located.meta().id;
            let before = held.entries.last().map_or([0; 32], |last| last.chain);
            let id = (!names_place(&id, located.seq(), located.time())).then_some(id);
            let at = held.entries.len();
            if let Some(id) = id {
                let twice = held.by_id.insert(id, at);
                assert_eq!(twice, None, "an id is in the log once");
            }
            let chain = chain(&before, &located.leaf);
            held.entries.push(IdEntry { id, place: located.place, chain });
        }
        if random.random_bool(0.3) {
            held.flushed = held.entries.len();
        }
        if random.random_bool(0.8) && held.can_be_read() {
            held.complete = true;
        }
    }

    /// Another one as this one is now.
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
    /// The position after so many entries, at least one.
    fn position(&self, entries: usize) -> Applied {
        let chain = self.entries[entries - 1].chain;
        Applied { seq: entries as Seq, chain, ids: Default::default() }
    }

    fn can_be_read(&self) -> bool {
        self.progress_file.is_none() && self.entries.len() as Seq >= self.told
    }
}

impl IdIndex for SimulatedIndex {
    fn applied(&self) -> Seq {
        self.applied_seq()
    }

    fn by_id(&self, id: &Uuid) -> Result<IdLookup, Unavailable> {
        let held = self.lock();
        if !held.can_be_read() {
            return Err(Unavailable::Opening);
        }
        let Some(at) = held.by_id.get(id) else {
            return Ok(if held.complete { IdLookup::Absent } else { IdLookup::NotYet });
        };
        let reader = held.reader.as_ref().ok_or(Unavailable::Closed)?;
        let record = reader.read_at(&held.entries[*at].place);
        Ok(IdLookup::Found(record.expect("the log can be read where it is not damaged")))
    }
}

//! Opens a store and checks it against itself and the log.

use std::sync::mpsc;

use uuid::Uuid;

use crate::journal::Reader;
use crate::projection::open::directory::StoreDirectory;
use crate::projection::open::scrub;
use crate::projection::store;
use crate::projection::store::position::Applied;
use crate::projection::store::{Store, StoreFault};

/// A store that was opened and checked against itself.
pub struct OpenedStore {
    /// Whether nothing had been written to it before.
    pub was_unwritten: bool,
    /// Whether it was within its first segment before.
    pub was_in_first_segment: bool,
    /// The store and its position, if it has one.
    pub found: Result<(Option<Applied>, Store), StoreFault>,
}

impl OpenedStore {
    pub fn open(
        directory: &StoreDirectory,
        log_id: Uuid,
        cache_bytes_max: u64,
        alive: mpsc::Sender<()>,
    ) -> Self {
        let path = directory.store();
        let was_unwritten = store::is_unwritten(&path);
        let was_in_first_segment = store::is_in_first_segment(&path);
        let found = Store::open(&path, cache_bytes_max, alive)
            .and_then(|store| Ok((scrub::verify(&store, log_id)?, store)));
        Self { was_unwritten, was_in_first_segment, found }
    }

    /// The position in the store.
    pub fn applied(&self) -> Option<Applied> {
        self.found.as_ref().ok().and_then(|(applied, _)| *applied)
    }
}

/// What is wrong with the stored location of the last applied record.
pub fn location_mismatch(
    store: &Store,
    applied: &Applied,
    log: &Reader,
) -> Result<Option<String>, StoreFault> {
    let Some(before) = applied.seq.checked_sub(1) else { return Ok(None) };
    // If the log cannot be read there, the store is not at fault, and reads of the log report it.
    let Ok(located) = log.follow(before).next_located(1) else { return Ok(None) };
    let Some(located) = located.first() else { return Ok(None) };
    let matches = scrub::has_location_of(store, located)?;
    Ok((!matches).then(|| "the log's records are at other locations".to_owned()))
}

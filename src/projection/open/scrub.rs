//! Checks an opened store: its identity pointers at once, its id index in slices.
//!
//! sled can open cleanly with entries missing (35 of 300 stores with one flipped bit did), so an
//! opened store is trusted in two steps. [`verify`] checks the identity pointers before anything is
//! served. They count the versions, so every read notices a missing block. The ids are counted only
//! by the position: [`IdScrub`] checks, in slices between other work, that none is missing, and
//! only then does an id that is not found count as absent. Where no client chose an id, that takes
//! no time.

use uuid::Uuid;

use crate::journal::LocatedRecord;
use crate::projection::store::keys::{APPLIED, IDS, NAMES};
use crate::projection::store::position::{Applied, IdSum};
use crate::projection::store::versions::{Pointer, VersionLocations};
use crate::projection::store::{Store, StoreFault, keys};

/// Maximum number of keys that one slice scans: at about 1 us each, 5 ms, a shorter wait for a
/// reader than a step.
const SLICE_KEYS_MAX: usize = 5_000;

/// The applied position of a store whose pointers are complete; `None` when it is empty.
///
/// Every record is one version of one identity. So if no pointer is ahead of the applied position,
/// and the latest versions add up to it, no pointer is behind either.
pub fn verify(store: &Store, log_id: Uuid) -> Result<Option<Applied>, StoreFault> {
    let Some(value) = store.get(APPLIED)? else {
        return if store.is_empty()? {
            Ok(None)
        } else {
            Err(StoreFault::Invalid("it has no position"))
        };
    };
    let applied = Applied::decode(&value, log_id)?;
    let mut sum: u64 = 0;
    for entry in store.scan_after(&[NAMES])? {
        let (key, value) = entry?;
        let pointer = Pointer::decode(&key, &value)?;
        if pointer.seq > applied.seq {
            return Err(StoreFault::Invalid("an identity is ahead of the position"));
        }
        sum = sum.saturating_add(pointer.version);
    }
    if sum != applied.seq {
        return Err(StoreFault::Invalid("the version counts do not add up to the position"));
    }
    Ok(Some(applied))
}

/// Whether the stored location of a record, the last one applied, is where it is in the log. A copy
/// of the log has groups and segments of its own, so the same record may be elsewhere in it.
pub fn has_location_of(store: &Store, located: &LocatedRecord) -> Result<bool, StoreFault> {
    let mut key = Vec::new();
    let meta = located.meta();
    keys::name_key_into(&mut key, &meta);
    let Some(mut locations) = VersionLocations::of(store, &key)? else { return Ok(false) };
    Ok(locations.location(meta.version)? == located.location)
}

/// A scan of the id index, between the steps of the same thread.
pub struct IdScrub {
    /// The last key scanned.
    after: Vec<u8>,
    /// Sum of the entries up to that key.
    found: IdSum,
}

impl IdScrub {
    pub fn new() -> Self {
        Self { after: vec![IDS], found: IdSum::default() }
    }

    /// Adds the ids of a step that the scan has already passed.
    pub fn note_step(&mut self, records: &[LocatedRecord]) {
        for (key, value) in records.iter().filter_map(keys::id_entry) {
            if key[..] <= self.after[..] {
                self.found.add(&key, &value);
            }
        }
    }

    /// Scans the next slice. Returns `true` at the end, if the entries add up to what the position
    /// says.
    pub fn scan_slice(&mut self, store: &Store, applied: &Applied) -> Result<bool, StoreFault> {
        let mut scan = store.scan_after(&self.after)?;
        for _ in 0..SLICE_KEYS_MAX {
            let Some(entry) = scan.next() else {
                return match self.found == applied.ids {
                    true => Ok(true),
                    false => Err(StoreFault::Invalid("the id index does not match the position")),
                };
            };
            let (key, value) = entry?;
            self.found.add(&key, &value);
            self.after.clear();
            self.after.extend_from_slice(&key);
        }
        Ok(false)
    }
}

//! The load-time check and the walk through the ids after an open.
//!
//! sled can open cleanly with entries missing (35 of 300 stores with one flipped bit did), so an
//! opened store is believed in two steps. [`verify`] proves the identity pointers before anything
//! is served; they tell how many versions there are, so every read notices a block that is
//! missing. Of ids nothing tells how many there are but the position: [`IdScrub`] proves, in
//! slices beside everything else, that none is missing, and only from then on does an id that is
//! not found count as absent. Without ids of clients that takes no time.

use uuid::Uuid;

use crate::journal::LocatedRecord;
use crate::projection::store::keys::{APPLIED, IDS, NAMES};
use crate::projection::store::position::{Applied, IdSum};
use crate::projection::store::versions::{Pointer, VersionLocations};
use crate::projection::store::{Store, StoreFault, keys};

/// Keys that one slice looks at: at about 1 us each, 5 ms, which a reader waits less for than for
/// a step.
const SLICE_KEYS_MAX: usize = 5_000;

/// The applied position of a store that holds what it should; nothing when it is empty.
///
/// Every record is one version of one identity. So when no pointer is ahead of the applied
/// position, and the newest versions add up to it, then no pointer is behind either.
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
        return Err(StoreFault::Invalid("the counts of versions do not add up to the position"));
    }
    Ok(Some(applied))
}

/// Whether the place of a record, the last one applied, is where it lies: the same records may lie
/// otherwise in a copy of the log, which has groups and segments of its own.
pub fn has_location_of(store: &Store, located: &LocatedRecord) -> Result<bool, StoreFault> {
    let mut key = Vec::new();
    let meta = located.meta();
    keys::name_key_into(&mut key, &meta);
    let Some(mut locations) = VersionLocations::of(store, &key)? else { return Ok(false) };
    Ok(locations.location(meta.version)? == located.place)
}

/// A walk through the index of ids, beside the steps of the same thread.
pub struct IdScrub {
    /// The last key looked at.
    after: Vec<u8>,
    /// What the keys up to there add up to.
    found: IdSum,
}

impl IdScrub {
    pub fn new() -> Self {
        Self { after: vec![IDS], found: IdSum::default() }
    }

    /// A step applies these records: entries that it puts behind the walk are not met any more.
    pub fn note_step(&mut self, records: &[LocatedRecord]) {
        for (key, value) in records.iter().filter_map(keys::id_entry) {
            if key[..] <= self.after[..] {
                self.found.add(&key, &value);
            }
        }
    }

    /// Walks on a little; `true` at the end, where everything is there that the position tells of.
    pub fn scan_slice(&mut self, store: &Store, applied: &Applied) -> Result<bool, StoreFault> {
        let mut scan = store.scan_after(&self.after)?;
        for _ in 0..SLICE_KEYS_MAX {
            let Some(entry) = scan.next() else {
                return match self.found == applied.ids {
                    true => Ok(true),
                    false => Err(StoreFault::Invalid("the index of ids is not what was written")),
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

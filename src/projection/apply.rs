//! One step: records in order, folded into one batch.

use std::collections::HashMap;

use uuid::Uuid;

use super::keys::{self, APPLIED, Pointer, Slot};
use super::position::Applied;
use super::store::{Batch, Fault, Store};
use crate::journal::Located;

/// Most records in a step. Each is one key, two when its id is in the index; each identity among
/// them is one more. Steps many times as large would write fewer pointers where identities repeat,
/// and leave sled's pages in more pieces: with four thousand an event's history takes more memory
/// to read, and 14 % more of the disk. Smaller ones keep the store closer behind the journal.
pub(super) const STEP_RECORDS_MAX: usize = 1_000;

/// Applies `records`, which follow `applied` in the log, and the new position, all or nothing.
///
/// # Errors
/// [`Fault::Doubt`] when the records do not continue what the store holds; nothing is applied
/// then.
pub(super) fn step(
    store: &Store,
    log_id: Uuid,
    applied: Applied,
    records: &[Located],
) -> Result<Applied, Fault> {
    let mut next = applied;
    let mut pointers = Pointers { store, moved: HashMap::new(), key: Vec::new() };
    let mut batch = Batch::default();
    for located in records {
        if located.seq != next.seq + 1 {
            return Err(Fault::Doubt("the journal does not go on where the store ends"));
        }
        let key = pointers.point(located)?.key();
        batch.insert(&key, &keys::place_value(&key, &located.place));
        if let Some((key, value)) = keys::id_entry(located) {
            batch.insert(&key, &value);
        }
        next = next.after(located);
    }
    for (key, pointer) in &pointers.moved {
        batch.insert(key, &pointer.encode(key));
    }
    batch.insert(APPLIED, &next.encode(log_id));
    store.apply(batch)?;
    Ok(next)
}

/// The pointers that a step moves; each is written once.
struct Pointers<'a> {
    store: &'a Store,
    moved: HashMap<Vec<u8>, Pointer>,
    /// The key that is looked up.
    key: Vec<u8>,
}

impl Pointers<'_> {
    /// Moves the pointer of the record's identity on to it, and tells where the record goes.
    fn point(&mut self, located: &Located) -> Result<Slot, Fault> {
        let meta = located.meta();
        let (version, seq, time) = (meta.version, located.seq, located.time);
        keys::name_key_into(&mut self.key, &meta);
        let pointer = match self.moved.get_mut(&self.key) {
            Some(pointer) => pointer,
            None => {
                let known = self.store.get(&self.key)?;
                let known = known.map(|value| Pointer::decode(&self.key, &value)).transpose()?;
                let unborn =
                    Pointer { number: seq, version: 0, first_time: time, last_time: time, seq: 0 };
                self.moved.entry(self.key.clone()).or_insert(known.unwrap_or(unborn))
            }
        };
        if version != pointer.version + 1 || seq <= pointer.seq {
            return Err(Fault::Doubt("a record does not continue its identity's versions"));
        }
        *pointer = Pointer { version, last_time: time, seq, ..*pointer };
        Ok(Slot { number: pointer.number, version })
    }
}

//! One step: records in order, folded into one batch.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use uuid::Uuid;

use super::keys::{self, APPLIED, Applied, Place, Pointer};
use super::store::{Fault, Store};
use crate::audit::chain;
use crate::record::{Record, StoredRecord};

/// Most records in a step. Each is three keys, and larger batches than this were measured not to
/// be cheaper for sled; smaller ones keep the store closer behind the journal.
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
    records: &[Record],
) -> Result<Applied, Fault> {
    let mut next = applied;
    let mut pointers = BTreeMap::new();
    let mut entries = Vec::with_capacity(3 * records.len() + 1);
    for record in records {
        if record.seq() != next.seq + 1 {
            return Err(Fault::Doubt("the journal does not go on where the store ends"));
        }
        let place = point(store, &mut pointers, record)?;
        let stored = record.encode_stored();
        let leaf = StoredRecord::decode(&stored).expect("what was just encoded decodes").leaf;
        next = Applied { seq: record.seq(), chain: chain(&next.chain, leaf) };
        entries.push((keys::id_key(&record.id()).to_vec(), place.encode().to_vec()));
        entries.push((place.key().to_vec(), stored));
    }
    entries.push((APPLIED.to_vec(), next.encode(log_id)));
    let pointers = pointers.into_iter().map(|(key, pointer)| {
        let value = pointer.encode(&key);
        (key, value)
    });
    store.apply(entries.into_iter().chain(pointers))?;
    Ok(next)
}

/// The position after `records`, which follow `applied` in the log.
pub(super) fn position(applied: Applied, records: &[Record]) -> Applied {
    records.iter().fold(applied, |applied, record| Applied {
        seq: record.seq(),
        chain: chain(&applied.chain, &record.leaf().0.encode()),
    })
}

/// Moves the pointer of the record's identity on to it, and tells where the record goes.
fn point(
    store: &Store,
    pointers: &mut BTreeMap<Vec<u8>, Pointer>,
    record: &Record,
) -> Result<Place, Fault> {
    let (version, seq, time) = (record.version(), record.seq(), record.time());
    let pointer = match pointers.entry(keys::name_key(record.identity())) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => {
            let known = store.get(entry.key())?;
            let known = known.map(|value| Pointer::decode(entry.key(), &value)).transpose()?;
            let unborn =
                Pointer { number: seq, version: 0, first_time: time, last_time: time, seq: 0 };
            entry.insert(known.unwrap_or(unborn))
        }
    };
    if version != pointer.version + 1 || seq <= pointer.seq {
        return Err(Fault::Doubt("a record does not continue its identity's versions"));
    }
    *pointer = Pointer { version, last_time: time, seq, ..*pointer };
    Ok(Place { number: pointer.number, version })
}

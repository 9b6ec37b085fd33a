//! The load-time check and the walk through the whole store after an open.
//!
//! sled can open cleanly with entries missing (35 of 300 stores with one flipped bit did), so an
//! opened store is believed in two steps. [`verify`] proves the identity pointers before anything
//! is served; every read checks its records against those. [`Scrub`] then proves, in slices
//! beside everything else, that the history and the index of ids are complete, and only from then
//! on does an id that is not found count as absent.

use uuid::Uuid;

use super::keys::{self, APPLIED, Applied, HISTORY, IDS, NAMES, Place, Pointer};
use super::store::{Fault, Store};
use crate::audit::Leaf;
use crate::record::{Meta, Seq, StoredRecord};

/// Keys that one slice looks at: at 2 to 5 us each, 10 ms at most, which a reader waits less for
/// than for a step.
const SLICE_KEYS_MAX: usize = 2_000;

/// The applied position of a store that holds what it should; nothing when it is empty.
///
/// Every record is one version of one identity. So when no pointer is ahead of the applied
/// position, and the newest versions add up to it, then no pointer is behind either.
pub(super) fn verify(store: &Store, log_id: Uuid) -> Result<Option<Applied>, Fault> {
    let Some(value) = store.get(APPLIED)? else {
        return if store.is_empty()? { Ok(None) } else { Err(Fault::Doubt("it has no position")) };
    };
    let applied = Applied::decode(&value, log_id)?;
    let mut sum: u64 = 0;
    for entry in store.scan_after(&[NAMES])? {
        let (key, value) = entry?;
        let pointer = Pointer::decode(&key, &value)?;
        if pointer.seq > applied.seq {
            return Err(Fault::Doubt("an identity is ahead of the position"));
        }
        sum = sum.saturating_add(pointer.version);
    }
    if sum != applied.seq {
        return Err(Fault::Doubt("the counts of versions do not add up to the position"));
    }
    Ok(Some(applied))
}

/// A walk under way: first the history, then the ids.
pub(super) struct Scrub {
    /// The applied position at the open; what was applied later was never closed over.
    upto: Seq,
    keys: Keys,
    /// The last key looked at.
    after: Vec<u8>,
    /// Records up to `upto` that these keys named.
    count: u64,
}

enum Keys {
    History(Option<Entry>),
    Ids,
}

/// What the next entry of the history is compared with.
struct Entry {
    place: Place,
    seq: Seq,
    event: String,
    to: Option<String>,
}

impl Scrub {
    pub(super) fn new(upto: Seq) -> Self {
        Self { upto, keys: Keys::History(None), after: vec![HISTORY], count: 0 }
    }

    /// Walks on a little; `true` at the end.
    pub(super) fn slice(&mut self, store: &Store) -> Result<bool, Fault> {
        let mut scan = store.scan_after(&self.after)?;
        for _ in 0..SLICE_KEYS_MAX {
            let Some(entry) = scan.next() else { return self.end() };
            let (key, value) = entry?;
            let seq = match &mut self.keys {
                Keys::History(before) => {
                    let entry = Entry::read(Place::of_key(&key)?, &value)?;
                    entry.follows(before.as_ref())?;
                    before.insert(entry).seq
                }
                Keys::Ids => target(store, &key, &value)?,
            };
            self.count += u64::from(seq <= self.upto);
            self.after.clear();
            self.after.extend_from_slice(&key);
        }
        Ok(false)
    }

    fn end(&mut self) -> Result<bool, Fault> {
        if self.count != self.upto {
            return Err(match self.keys {
                Keys::History(_) => Fault::Doubt("entries of the history are missing"),
                Keys::Ids => Fault::Doubt("entries of the index of ids are missing"),
            });
        }
        let ended = matches!(self.keys, Keys::Ids);
        (self.keys, self.after, self.count) = (Keys::Ids, vec![IDS], 0);
        Ok(ended)
    }
}

impl Entry {
    fn read(place: Place, value: &[u8]) -> Result<Self, Fault> {
        let (seq, meta) = decode(value)?;
        if meta.version != place.version {
            return Err(Fault::Doubt("a history entry belongs elsewhere"));
        }
        Ok(Self { place, seq, event: meta.event.to_owned(), to: meta.to.map(str::to_owned) })
    }

    fn follows(&self, before: Option<&Self>) -> Result<(), Fault> {
        let in_order = match before {
            Some(before) if before.place.number == self.place.number => {
                self.place.version == before.place.version + 1
                    && self.seq > before.seq
                    && (&self.event, &self.to) == (&before.event, &before.to)
            }
            _ => self.place.version == 1 && self.seq == self.place.number,
        };
        if in_order { Ok(()) } else { Err(Fault::Doubt("the history has a gap")) }
    }
}

/// The seq of the record that an id points to.
fn target(store: &Store, key: &[u8], value: &[u8]) -> Result<Seq, Fault> {
    let place = Place::decode(value)?;
    let value = store.get(&place.key())?.ok_or(Fault::Doubt("an id points to no record"))?;
    let (seq, meta) = decode(&value)?;
    if keys::id_key(&meta.id)[..] != *key {
        return Err(Fault::Doubt("an id points to another record"));
    }
    Ok(seq)
}

fn decode(value: &[u8]) -> Result<(Seq, Meta<'_>), Fault> {
    const DAMAGED: Fault = Fault::Doubt("a history entry is damaged");
    let stored = StoredRecord::decode(value).map_err(|_| DAMAGED)?;
    let leaf = Leaf::decode(stored.leaf).map_err(|_| DAMAGED)?;
    let meta = Meta::decode(stored.meta).map_err(|_| DAMAGED)?;
    Ok((leaf.seq, meta))
}

//! Reads of one store. Every answer is whole and checked, or a [`Fault`].

use std::ops::{Bound, RangeInclusive};

use uuid::Uuid;

use super::keys::{self, NAMES, Place, Pointer};
use super::store::{Fault, Store};
use crate::record::{Identity, Record, Timestamp, Version};

/// Most bytes of records in one page, but for the last of them, which may exceed it: a page is
/// held in memory.
pub const PAGE_BYTES_MAX: usize = 4 << 20;

/// Most identities that one call of `names` looks at: at about 2 us each, 20 ms.
pub const NAMES_SCANNED_MAX: usize = 10_000;

/// What to read of an identity's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageQuery {
    /// Versions that do not exist, or not yet, are left out at both ends.
    pub versions: RangeInclusive<Version>,
    /// Most records in the answer.
    pub limit: usize,
    /// From the newest down, instead of from the oldest up.
    pub descending: bool,
}

/// Some of the identities, in the order of [`Identity`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamePage {
    /// Those that passed the filter.
    pub names: Vec<(Identity, Pointer)>,
    /// Where to go on when more may follow, which need not pass the filter.
    pub next: Option<Identity>,
}

/// Whether a record has this id, among those that are applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdLookup {
    /// None has.
    Absent,
    /// This one has.
    Found(Record),
    /// None was found, but after an open it takes a walk through the whole store to know that
    /// the index is complete, and that is still under way.
    NotYet,
}

pub(super) fn newest(store: &Store, identity: &Identity) -> Result<Option<Pointer>, Fault> {
    let key = keys::name_key(identity);
    store.get(&key)?.map(|value| Pointer::decode(&key, &value)).transpose()
}

pub(super) fn page(
    store: &Store,
    identity: &Identity,
    query: &PageQuery,
) -> Result<Vec<Record>, Fault> {
    let Some(pointer) = newest(store, identity)? else { return Ok(Vec::new()) };
    let first = (*query.versions.start()).max(1);
    let last = (*query.versions.end()).min(pointer.version);
    if first > last || query.limit == 0 {
        return Ok(Vec::new());
    }
    let place = |version| Place { number: pointer.number, version };
    let (from, to) = (place(first).key(), place(last).key());
    let mut scan = store.scan(Bound::Included(&from), Bound::Included(&to))?;
    let mut versions: Box<dyn Iterator<Item = Version>> = Box::new(first..=last);
    if query.descending {
        scan = scan.backward();
        versions = Box::new((first..=last).rev());
    }
    let (mut records, mut bytes) = (Vec::<Record>::new(), 0);
    for version in versions.take(query.limit) {
        let (key, value) = scan.next().ok_or(MISSING)??;
        if Place::of_key(&key)? != place(version) {
            return Err(MISSING);
        }
        let record = checked(&pointer, identity, version, &value)?;
        let in_order = records.last().is_none_or(|before| {
            (before.seq() < record.seq()) != query.descending && before.seq() != record.seq()
        });
        if !in_order {
            return Err(Fault::Doubt("two history entries are out of order"));
        }
        bytes += record.json().len();
        records.push(record);
        if bytes >= PAGE_BYTES_MAX {
            break;
        }
    }
    Ok(records)
}

/// The newest version that is not later than `time`.
pub(super) fn version_at(
    store: &Store,
    identity: &Identity,
    time: Timestamp,
) -> Result<Option<Version>, Fault> {
    let Some(pointer) = newest(store, identity)? else { return Ok(None) };
    let later = first_where(store, identity, &pointer, |record| record.time() > time)?;
    Ok(Some(later - 1).filter(|version| *version > 0))
}

/// The oldest version that is not earlier than `time`.
pub(super) fn first_version_since(
    store: &Store,
    identity: &Identity,
    time: Timestamp,
) -> Result<Option<Version>, Fault> {
    let Some(pointer) = newest(store, identity)? else { return Ok(None) };
    let first = first_where(store, identity, &pointer, |record| record.time() >= time)?;
    Ok(Some(first).filter(|version| *version <= pointer.version))
}

pub(super) fn names(
    store: &Store,
    after: Option<&Identity>,
    limit: usize,
    filter: impl Fn(&Identity) -> bool,
) -> Result<NamePage, Fault> {
    let mut page = NamePage::default();
    let after = after.map_or_else(|| vec![NAMES], keys::name_key);
    let scan = store.scan_after(&after)?;
    for (scanned, entry) in scan.enumerate() {
        if page.names.len() >= limit || scanned == NAMES_SCANNED_MAX {
            return Ok(page);
        }
        let (key, value) = entry?;
        let identity = keys::identity(&key)?;
        page.next = Some(identity.clone());
        if filter(&identity) {
            page.names.push((identity, Pointer::decode(&key, &value)?));
        }
    }
    page.next = None;
    Ok(page)
}

pub(super) fn by_id(store: &Store, id: &Uuid) -> Result<IdLookup, Fault> {
    // Before the index: what is absent from a complete index is absent.
    let complete = store.ids_complete();
    let Some(place) = store.get(&keys::id_key(id))? else {
        return Ok(if complete { IdLookup::Absent } else { IdLookup::NotYet });
    };
    let value = store.get(&Place::decode(&place)?.key())?.ok_or(MISSING)?;
    let record = Record::decode_stored(&value).map_err(|_| DAMAGED)?;
    let pointer = newest(store, record.identity())?.ok_or(MISSING)?;
    let record = checked(&pointer, record.identity(), record.version(), &value)?;
    if record.id() != *id || place[..] != place_of(&pointer, &record).encode() {
        return Err(Fault::Doubt("an id points to another record"));
    }
    Ok(IdLookup::Found(record))
}

/// The oldest version that `is_past` holds for, or the one after the newest. It must hold for
/// every version after one that it holds for; times never fall within a log.
fn first_where(
    store: &Store,
    identity: &Identity,
    pointer: &Pointer,
    is_past: impl Fn(&Record) -> bool,
) -> Result<Version, Fault> {
    let (mut low, mut high) = (1, pointer.version + 1);
    while low < high {
        let version = low + (high - low) / 2;
        let place = Place { number: pointer.number, version };
        let value = store.get(&place.key())?.ok_or(MISSING)?;
        if is_past(&checked(pointer, identity, version, &value)?) {
            high = version;
        } else {
            low = version + 1;
        }
    }
    Ok(low)
}

const MISSING: Fault = Fault::Doubt("a history entry is missing");
const DAMAGED: Fault = Fault::Doubt("a history entry is damaged");

/// The record in a history entry, when it is the one that belongs there.
fn checked(
    pointer: &Pointer,
    identity: &Identity,
    version: Version,
    value: &[u8],
) -> Result<Record, Fault> {
    let record = Record::decode_stored(value).map_err(|_| DAMAGED)?;
    let belongs = record.identity() == identity
        && record.version() == version
        && (record.seq() == pointer.number) == (version == 1)
        && (record.seq() == pointer.seq) == (version == pointer.version)
        && (pointer.number..=pointer.seq).contains(&record.seq())
        && (pointer.first_time..=pointer.last_time).contains(&record.time());
    if belongs { Ok(record) } else { Err(Fault::Doubt("a history entry belongs elsewhere")) }
}

fn place_of(pointer: &Pointer, record: &Record) -> Place {
    Place { number: pointer.number, version: record.version() }
}

//! Reads of one store and of the log that it points to. Every answer is complete and checked, or a
//! [`ReadRefusal`].
//!
//! Faults of the store and of the log are kept apart. A store that contradicts the log is invalid
//! and is rebuilt. A record that is damaged in the log stays so however often the index is rebuilt,
//! so only its reads are refused.

pub mod compare;
pub mod handle;
pub mod unavailable;

use std::ops::RangeInclusive;

use uuid::Uuid;

use crate::journal::{JournalError, LocationError, Reader};
use crate::projection::store::keys::NAMES;
use crate::projection::store::versions::{Pointer, VersionLocations};
use crate::projection::store::{Store, StoreFault, keys};
use crate::record::{Identity, Record, Seq, Timestamp, Version};

/// Maximum stored bytes of the records in one page, except that the last record may exceed it. A
/// page is held in memory, as JSON, which takes some 100 bytes a record more.
pub const PAGE_BYTES_MAX: u64 = 4 << 20;

/// Maximum number of identities that one call of `names` scans: at about 2 us each, 20 ms.
pub const NAMES_SCANNED_MAX: usize = 10_000;

/// Which part of an identity's history to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageQuery {
    /// Versions outside of the history are left out.
    pub versions: RangeInclusive<Version>,
    /// Maximum number of records in the answer.
    pub limit: usize,
    /// From the latest down, instead of from the oldest up.
    pub descending: bool,
}

/// Some of the identities, in the order of [`Identity`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamePage {
    /// Those that passed the filter.
    pub names: Vec<(Identity, Pointer)>,
    /// Where to continue when more may follow; it need not pass the filter.
    pub next: Option<Identity>,
}

/// Whether an applied record has this id. Ids that encode their location are looked up in the log
/// instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdLookup {
    /// No record has it.
    Absent,
    /// This record has it.
    Found(Record),
    /// It was not found, but the index is not known to be complete: the scan that follows an open
    /// has not ended yet.
    NotYet,
}

/// Why a read has no answer.
#[derive(Debug)]
pub enum ReadRefusal {
    /// The store cannot be trusted.
    Index(StoreFault),
    /// The log cannot be read where the store points.
    Log(JournalError),
}

impl From<StoreFault> for ReadRefusal {
    fn from(fault: StoreFault) -> Self {
        Self::Index(fault)
    }
}

impl From<LocationError> for ReadRefusal {
    fn from(error: LocationError) -> Self {
        match error {
            LocationError::Journal(error) => Self::Log(error),
            LocationError::OutsideLog => {
                Self::Index(StoreFault::Invalid("a location is not within the log"))
            }
        }
    }
}

/// A store and its log.
#[derive(Clone, Copy)]
pub struct StoreView<'a> {
    pub store: &'a Store,
    pub log: &'a Reader,
}

pub fn latest(view: StoreView<'_>, identity: &Identity) -> Result<Option<Pointer>, ReadRefusal> {
    let key = keys::name_key(identity);
    let value = view.store.get(&key)?;
    Ok(value.map(|value| Pointer::decode(&key, &value)).transpose()?)
}

pub fn page(
    view: StoreView<'_>,
    identity: &Identity,
    query: &PageQuery,
) -> Result<Vec<Record>, ReadRefusal> {
    let Some(mut stored) = version_locations(view, identity)? else { return Ok(Vec::new()) };
    let pointer = stored.pointer();
    let first = (*query.versions.start()).max(1);
    let last = (*query.versions.end()).min(pointer.version);
    if first > last || query.limit == 0 {
        return Ok(Vec::new());
    }
    let mut versions: Box<dyn Iterator<Item = Version>> = Box::new(first..=last);
    if query.descending {
        versions = Box::new((first..=last).rev());
    }
    let (mut locations, mut bytes) = (Vec::new(), 0);
    for version in versions.take(query.limit) {
        let location = stored.location(version)?;
        bytes += location.parts_bytes();
        locations.push(location);
        if bytes >= PAGE_BYTES_MAX {
            break;
        }
    }
    // The log is read in ascending order, neighbours at once.
    if query.descending {
        locations.reverse();
    }
    let oldest = if query.descending { last - (locations.len() as Version - 1) } else { first };
    let mut records = view.log.read_all_at(&locations)?;
    let mut seq_before = None;
    for (version, record) in (oldest..=last).zip(&records) {
        if record.identity() != identity || record.version() != version {
            return Err(WRONG_LOCATION.into());
        }
        pointer.check(version, record.seq(), record.time())?;
        if seq_before.is_some_and(|before| before >= record.seq()) {
            return Err(
                StoreFault::Invalid("the locations of two versions are out of order").into()
            );
        }
        seq_before = Some(record.seq());
    }
    if query.descending {
        records.reverse();
    }
    Ok(records)
}

/// The latest version that is not later than `time`.
pub fn version_at(
    view: StoreView<'_>,
    identity: &Identity,
    time: Timestamp,
) -> Result<Option<Version>, ReadRefusal> {
    let Some(mut locations) = version_locations(view, identity)? else { return Ok(None) };
    let later = first_version_where(&mut locations, |at| at > time)?;
    Ok(Some(later - 1).filter(|version| *version > 0))
}

/// The oldest version that is not earlier than `time`.
pub fn first_version_since(
    view: StoreView<'_>,
    identity: &Identity,
    time: Timestamp,
) -> Result<Option<Version>, ReadRefusal> {
    let Some(mut locations) = version_locations(view, identity)? else { return Ok(None) };
    let first = first_version_where(&mut locations, |at| at >= time)?;
    Ok(Some(first).filter(|version| *version <= locations.pointer().version))
}

pub fn names(
    view: StoreView<'_>,
    after: Option<&Identity>,
    limit: usize,
    filter: impl Fn(&Identity) -> bool,
) -> Result<NamePage, ReadRefusal> {
    let mut page = NamePage::default();
    let after = after.map_or_else(|| vec![NAMES], keys::name_key);
    let scan = view.store.scan_after(&after)?;
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

pub fn by_id(view: StoreView<'_>, id: &Uuid) -> Result<IdLookup, ReadRefusal> {
    // Before the index is read: what is absent from a complete index is absent.
    let complete = view.store.ids_complete();
    let key = keys::id_key(id);
    let Some(value) = view.store.get(&key)? else {
        return Ok(if complete { IdLookup::Absent } else { IdLookup::NotYet });
    };
    let record = view.log.read_at(&keys::decode_location(&key, &value)?)?;
    if record.id() != *id {
        return Err(StoreFault::Invalid("an id points to another record").into());
    }
    Ok(IdLookup::Found(record))
}

/// The oldest version whose time satisfies `is_past`, or the one after the latest. If `is_past`
/// holds for a time, it must hold for every later one. Times never fall within a log, which is not
/// read here.
fn first_version_where(
    locations: &mut VersionLocations<'_>,
    is_past: impl Fn(Timestamp) -> bool,
) -> Result<Version, StoreFault> {
    let pointer = locations.pointer();
    let (mut low, mut high) = (1, pointer.version + 1);
    while low < high {
        let version = low + (high - low) / 2;
        let location = locations.location(version)?;
        pointer.check(version, location.seq(), location.time())?;
        if is_past(location.time()) {
            high = version;
        } else {
            low = version + 1;
        }
    }
    Ok(low)
}

const WRONG_LOCATION: StoreFault =
    StoreFault::Invalid("the location of a version is that of another record");

fn version_locations<'a>(
    view: StoreView<'a>,
    identity: &Identity,
) -> Result<Option<VersionLocations<'a>>, ReadRefusal> {
    Ok(VersionLocations::of(view.store, &keys::name_key(identity))?)
}

impl Pointer {
    /// Checks that a version of the identity can have this seq and this time.
    fn check(&self, version: Version, seq: Seq, time: Timestamp) -> Result<(), StoreFault> {
        let belongs = (seq == self.number) == (version == 1)
            && (seq == self.seq) == (version == self.version)
            && (self.number..=self.seq).contains(&seq)
            && (self.first_time..=self.last_time).contains(&time);
        if belongs { Ok(()) } else { Err(WRONG_LOCATION) }
    }
}

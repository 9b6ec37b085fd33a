//! The history of an identity: its pointer, and the locations of its versions, sixteen to an entry.
//!
//! Versions 1 to 16 are a block, 17 to 32 the next. A full block is an entry of its own and never
//! changes. The last one is open until it is full, and is stored behind the identity's pointer,
//! which is written with every version anyway. sled takes 14 to 20 us of CPU time for an entry of
//! any size, keeps eight to sixteen of them to a page, and needs some 300 bytes of memory for each
//! page. Longer blocks would make each write of a pointer longer; shorter ones would make more
//! entries and pages.
//!
//! Every version that the pointer counts has a location, or a read returns a [`StoreFault`].
//!
//! ```text
//! key                                  value
//! 'h' ‖ number (8) ‖ version (8)       a full block, the version its first, some 250 bytes:
//!                                        n  16 locations, as drawn in
//!                                           `journal::read::location::packed_list`
//!                                        4  CRC-32C of key and value so far
//! 'n' ‖ event ‖ 0x00 ‖ to              an identity, from 44 bytes:
//!                                        8  number: seq of the identity's first record
//!                                        8  latest version, which is also the count
//!                                        8  time of the first record, ms since 1970
//!                                        8  time of the latest record, ms since 1970
//!                                        8  seq of the latest record
//!                                        n  the open block: locations of the last version mod 16
//!                                        4  CRC-32C of key and value so far
//! ```

use crate::journal::{LocatedRecord, Location, PackedList};
use crate::projection::store::keys::HISTORY;
use crate::projection::store::{Store, StoreFault, keys};
use crate::record::{Seq, Timestamp, Version};

/// Versions of a full block.
pub const BLOCK_VERSIONS: u64 = 16;

const MISSING_LOCATION: StoreFault = StoreFault::Invalid("the location of a version is missing");
const OPEN_BLOCK_MISMATCH: StoreFault =
    StoreFault::Invalid("an open block does not hold as many versions as its pointer counts");

/// The summary of an identity, known without reading its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Seq of its first record, which is its number in the keys of the history.
    pub number: Seq,
    /// Its latest version, which is also the count of its versions.
    pub version: Version,
    /// Time of its first version.
    pub first_time: Timestamp,
    /// Time of its latest version.
    pub last_time: Timestamp,
    /// Seq of its latest version.
    pub seq: Seq,
}

/// The key of a full block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockKey {
    number: Seq,
    first: Version,
}

/// The value under an identity's key: its pointer and its open block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryHead {
    pointer: Pointer,
    /// The locations of the versions that are in no full block.
    open: PackedList,
}

/// A full block to be written.
#[derive(Debug)]
pub struct FullBlock {
    pub key: [u8; 17],
    pub value: Vec<u8>,
}

/// The locations of one identity's versions, read from a store.
pub struct VersionLocations<'a> {
    store: &'a Store,
    pointer: Pointer,
    /// The open block.
    open: Vec<Location>,
    /// The full block that was read last, with its locations.
    cached: Option<(BlockKey, Vec<Location>)>,
}

impl Pointer {
    /// Decodes the pointer, without looking at the open block behind it.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, StoreFault> {
        split_value(key, value).map(|(pointer, _)| pointer)
    }

    /// Number of full blocks.
    pub fn full_blocks(&self) -> u64 {
        self.version / BLOCK_VERSIONS
    }

    /// Number of versions in the open block.
    fn open_versions(&self) -> u64 {
        self.version % BLOCK_VERSIONS
    }
}

impl BlockKey {
    /// The key of the block that holds a version, counted from 1.
    pub fn of(number: Seq, version: Version) -> Self {
        Self { number, first: version - (version - 1) % BLOCK_VERSIONS }
    }

    pub fn key(self) -> [u8; 17] {
        let mut key = [HISTORY; 17];
        key[1..9].copy_from_slice(&self.number.to_be_bytes());
        key[9..].copy_from_slice(&self.first.to_be_bytes());
        key
    }
}

impl HistoryHead {
    /// The head before the first version, which this record is.
    pub fn empty(first: &LocatedRecord) -> Self {
        let (number, time) = (first.seq(), first.time());
        let pointer = Pointer { number, version: 0, first_time: time, last_time: time, seq: 0 };
        Self { pointer, open: PackedList::default() }
    }

    /// Adds the next version, and returns the block that it fills.
    ///
    /// # Errors
    /// [`StoreFault::Invalid`] when the record does not continue the versions.
    pub fn push(&mut self, located: &LocatedRecord) -> Result<Option<FullBlock>, StoreFault> {
        let (version, seq) = (located.meta().version, located.seq());
        if version != self.pointer.version + 1 || seq <= self.pointer.seq {
            return Err(StoreFault::Invalid("a record does not continue its identity's versions"));
        }
        self.pointer = Pointer { version, last_time: located.time(), seq, ..self.pointer };
        self.open.push(&located.location);
        if self.pointer.open_versions() > 0 {
            return Ok(None);
        }
        let key = BlockKey::of(self.pointer.number, version).key();
        let locations = std::mem::take(&mut self.open).into_bytes();
        Ok(Some(FullBlock { key, value: keys::seal(&key, locations) }))
    }

    pub fn encode(&self, key: &[u8]) -> Vec<u8> {
        let Pointer { number, version, first_time, last_time, seq } = self.pointer;
        let mut value = Vec::with_capacity(44 + self.open.bytes().len());
        for field in [number, version, first_time.millis(), last_time.millis(), seq] {
            value.extend_from_slice(&field.to_be_bytes());
        }
        value.extend_from_slice(self.open.bytes());
        keys::seal(key, value)
    }

    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, StoreFault> {
        let (pointer, locations) = split_value(key, value)?;
        let list =
            PackedList::decode(locations).filter(|(_, count)| *count == pointer.open_versions());
        let (open, _) = list.ok_or(OPEN_BLOCK_MISMATCH)?;
        Ok(Self { pointer, open })
    }
}

/// The locations in the value of a full block.
pub fn decode_block(key: &[u8], value: &[u8]) -> Result<Vec<Location>, StoreFault> {
    let locations = keys::unseal(key, value).and_then(PackedList::read);
    let locations = locations.filter(|locations| locations.len() as u64 == BLOCK_VERSIONS);
    locations.ok_or(StoreFault::Invalid("a block of locations is damaged"))
}

/// A pointer, and the bytes of the open block behind it.
fn split_value<'a>(key: &[u8], value: &'a [u8]) -> Result<(Pointer, &'a [u8]), StoreFault> {
    let rest =
        keys::unseal(key, value).ok_or(StoreFault::Invalid("an identity pointer is damaged"))?;
    let (number, rest) = keys::take_u64(rest)?;
    let (version, rest) = keys::take_u64(rest)?;
    let (first_time, rest) = keys::take_u64(rest)?;
    let (last_time, rest) = keys::take_u64(rest)?;
    let (seq, open) = keys::take_u64(rest)?;
    let pointer = Pointer {
        number,
        version,
        first_time: Timestamp::from_millis(first_time),
        last_time: Timestamp::from_millis(last_time),
        seq,
    };
    Ok((pointer, open))
}

impl<'a> VersionLocations<'a> {
    /// The locations of the identity with this key, if it exists.
    pub fn of(store: &'a Store, key: &[u8]) -> Result<Option<Self>, StoreFault> {
        let Some(value) = store.get(key)? else { return Ok(None) };
        let (pointer, locations) = split_value(key, &value)?;
        let open =
            PackedList::read(locations).filter(|open| open.len() as u64 == pointer.open_versions());
        Ok(Some(Self { store, pointer, open: open.ok_or(OPEN_BLOCK_MISMATCH)?, cached: None }))
    }

    pub fn pointer(&self) -> Pointer {
        self.pointer
    }

    /// The location of a version.
    pub fn location(&mut self, version: Version) -> Result<Location, StoreFault> {
        let pointer = self.pointer;
        if !(1..=pointer.version).contains(&version) {
            return Err(MISSING_LOCATION);
        }
        let locations = if version > pointer.version - pointer.open_versions() {
            &self.open[..]
        } else {
            self.full_block(BlockKey::of(pointer.number, version))?
        };
        let location = locations.get(((version - 1) % BLOCK_VERSIONS) as usize);
        location.copied().ok_or(MISSING_LOCATION)
    }

    /// The locations in a full block.
    fn full_block(&mut self, block: BlockKey) -> Result<&[Location], StoreFault> {
        let locations = match self.cached.take() {
            Some((cached, locations)) if cached == block => locations,
            _ => {
                let key = block.key();
                let value = self.store.get(&key)?.ok_or(MISSING_LOCATION)?;
                decode_block(&key, &value)?
            }
        };
        let (_, locations) = self.cached.insert((block, locations));
        Ok(locations)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::LOCATION_BYTES;

    fn any_head() -> impl Strategy<Value = HistoryHead> {
        let locations = any::<[[u8; LOCATION_BYTES]; BLOCK_VERSIONS as usize]>();
        (any::<[u32; 5]>(), locations).prop_map(|(fields, locations)| {
            let [number, version, first, last, seq] = fields.map(u64::from);
            let pointer = Pointer {
                number,
                version,
                first_time: Timestamp::from_millis(first),
                last_time: Timestamp::from_millis(last),
                seq,
            };
            let mut open = PackedList::default();
            let locations = locations.iter().take(pointer.open_versions() as usize);
            locations.for_each(|location| open.push(&Location::decode(location)));
            HistoryHead { pointer, open }
        })
    }

    proptest! {
        #[test]
        fn history_head_reads_back_under_its_own_key_and_detects_any_flipped_bit(
            head in any_head(), mine: [u8; 9], other: [u8; 9], bit: prop::sample::Index,
        ) {
            let mut value = head.encode(&mine);
            prop_assert_eq!(value.len(), 44 + head.open.bytes().len());
            prop_assert_eq!(Pointer::decode(&mine, &value).unwrap(), head.pointer);
            prop_assert_eq!(HistoryHead::decode(&other, &value).is_ok(), mine == other);
            let bit = bit.index(value.len() * 8);
            value[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(HistoryHead::decode(&mine, &value).is_err());
            value[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(HistoryHead::decode(&mine, &value).unwrap(), head);
        }

        #[test]
        fn block_keys_keep_their_order_and_hold_sixteen_versions(
            one in (1u64..3, 1u64..99), two in (1u64..3, 1u64..99),
        ) {
            let block = |(number, version)| BlockKey::of(number, version);
            let order = |(number, version): (u64, u64)| (number, version.div_ceil(16));
            prop_assert_eq!(block(one).key().cmp(&block(two).key()), order(one).cmp(&order(two)));
            let first = block(one).first;
            prop_assert_eq!(first % 16, 1);
            prop_assert!((first..first + 16).contains(&one.1));
        }
    }
}

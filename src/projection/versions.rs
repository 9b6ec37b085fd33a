//! The history of an identity: its pointer, and the places of its versions, sixteen to an entry.
//!
//! Owns how they are stored. Versions 1 to 16 are a block, 17 to 32 the next. A full block is an
//! entry of its own and never changes; the last one, while it is not full, is open, and lies behind
//! the identity's pointer, which moves with every version anyway. sled takes 14 to 20 us of
//! processor time for an entry whatever is in it, keeps eight to sixteen of them to a page, and
//! some 300 bytes of memory for each page that there is.
//! Promises a place for every version that the pointer tells of, or a [`Fault`].
//!
//! Longer blocks make what is written for each move of a pointer longer; shorter ones make more
//! entries and pages.
//!
//! ```text
//! key                                  value
//! 'h' ‖ number (8) ‖ version (8)       a full block, the version its first, 612 bytes:
//!                                      608  16 places, as `journal::place` draws them
//!                                        4  CRC-32C of key and value so far
//! 'n' ‖ event ‖ 0x00 ‖ to              an identity, 44 to 614 bytes:
//!                                        8  number: seq of the identity's first record
//!                                        8  newest version, which is also the count
//!                                        8  time of the first record, ms since 1970
//!                                        8  time of the newest record, ms since 1970
//!                                        8  seq of the newest record
//!                                      38n  the open block: places of the last version mod 16
//!                                        4  CRC-32C of key and value so far
//! ```

use super::keys::{self, HISTORY};
use super::store::{Fault, Store};
use crate::journal::{Located, PLACE_BYTES, Place};
use crate::record::{Seq, Timestamp, Version};

/// Versions of a full block.
pub(super) const BLOCK_VERSIONS: u64 = 16;

const BLOCK_BYTES: usize = BLOCK_VERSIONS as usize * PLACE_BYTES;

const CHECKSUM_BYTES: usize = 4;

const MISSING: Fault = Fault::Doubt("a place of a version is missing");

/// What is known of an identity without reading its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Seq of its first record: its number in the history's keys.
    pub number: Seq,
    /// Its newest version, which is also the count of its versions.
    pub version: Version,
    /// When its first version was decided.
    pub first_time: Timestamp,
    /// When its newest version was decided.
    pub last_time: Timestamp,
    /// Seq of its newest version.
    pub seq: Seq,
}

/// Which full block of which history an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    number: Seq,
    first: Version,
}

/// What is stored under an identity's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pointer: Pointer,
    /// The encoded places of the versions that are in no full block.
    open: Vec<u8>,
}

/// A full block, to be written.
#[derive(Debug)]
pub(super) struct Full {
    pub(super) key: [u8; 17],
    pub(super) value: Vec<u8>,
}

/// The places of one identity's versions, read from a store.
pub(super) struct Places<'a> {
    store: &'a Store,
    line: Line,
    /// The full block that was read last, and what is in it.
    block: Option<(Block, Vec<u8>)>,
}

impl Pointer {
    /// Without the open block behind it.
    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Self, Fault> {
        decode(key, value).map(|(pointer, _)| pointer)
    }

    /// How many full blocks there are.
    pub(super) fn full_blocks(&self) -> u64 {
        self.version / BLOCK_VERSIONS
    }

    /// How many versions are in none of them.
    fn open_versions(&self) -> u64 {
        self.version % BLOCK_VERSIONS
    }
}

impl Block {
    /// The one that holds a version, from 1.
    pub(super) fn of(number: Seq, version: Version) -> Self {
        Self { number, first: version - (version - 1) % BLOCK_VERSIONS }
    }

    pub(super) fn key(self) -> [u8; 17] {
        let mut key = [HISTORY; 17];
        key[1..9].copy_from_slice(&self.number.to_be_bytes());
        key[9..].copy_from_slice(&self.first.to_be_bytes());
        key
    }
}

impl Line {
    /// Before the first version, which this record is.
    pub(super) fn unborn(first: &Located) -> Self {
        let (number, time) = (first.seq(), first.time());
        let pointer = Pointer { number, version: 0, first_time: time, last_time: time, seq: 0 };
        Self { pointer, open: Vec::new() }
    }

    /// Takes in the next version, and gives the entry of the block that it fills.
    ///
    /// # Errors
    /// [`Fault::Doubt`] when the record does not continue the versions.
    pub(super) fn push(&mut self, located: &Located) -> Result<Option<Full>, Fault> {
        let (version, seq) = (located.meta().version, located.seq());
        if version != self.pointer.version + 1 || seq <= self.pointer.seq {
            return Err(Fault::Doubt("a record does not continue its identity's versions"));
        }
        self.pointer = Pointer { version, last_time: located.time(), seq, ..self.pointer };
        self.open.extend_from_slice(&located.place.encode());
        if self.open.len() < BLOCK_BYTES {
            return Ok(None);
        }
        let key = Block::of(self.pointer.number, version).key();
        Ok(Some(Full { key, value: keys::seal(&key, std::mem::take(&mut self.open)) }))
    }

    pub(super) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let Pointer { number, version, first_time, last_time, seq } = self.pointer;
        let mut value = Vec::with_capacity(44 + self.open.len());
        for field in [number, version, first_time.millis(), last_time.millis(), seq] {
            value.extend_from_slice(&field.to_be_bytes());
        }
        value.extend_from_slice(&self.open);
        keys::seal(key, value)
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Self, Fault> {
        let (pointer, places) = decode(key, value)?;
        // Most are read to be pushed to, until a checksum follows.
        let mut open = Vec::with_capacity(BLOCK_BYTES + CHECKSUM_BYTES);
        open.extend_from_slice(places);
        Ok(Self { pointer, open })
    }
}

/// The places in the value of a full block.
pub(super) fn block<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], Fault> {
    let places = keys::unseal(key, value).filter(|places| places.len() == BLOCK_BYTES);
    places.ok_or(Fault::Doubt("a block of places is damaged"))
}

/// A pointer, and the open block behind it.
fn decode<'a>(key: &[u8], value: &'a [u8]) -> Result<(Pointer, &'a [u8]), Fault> {
    let rest = keys::unseal(key, value).ok_or(Fault::Doubt("an identity pointer is damaged"))?;
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
    if open.len() as u64 != pointer.open_versions() * PLACE_BYTES as u64 {
        return Err(Fault::Doubt("an open block has another length than its pointer tells"));
    }
    Ok((pointer, open))
}

impl<'a> Places<'a> {
    /// Those of the identity with this key, if there is one.
    pub(super) fn of(store: &'a Store, key: &[u8]) -> Result<Option<Self>, Fault> {
        let Some(value) = store.get(key)? else { return Ok(None) };
        Ok(Some(Self { store, line: Line::decode(key, &value)?, block: None }))
    }

    pub(super) fn pointer(&self) -> Pointer {
        self.line.pointer
    }

    /// Where a version lies.
    pub(super) fn place(&mut self, version: Version) -> Result<Place, Fault> {
        let pointer = self.line.pointer;
        if !(1..=pointer.version).contains(&version) {
            return Err(MISSING);
        }
        let places = if version > pointer.version - pointer.open_versions() {
            &self.line.open
        } else {
            self.full(Block::of(pointer.number, version))?
        };
        let (places, _) = places.as_chunks();
        let place = places.get(((version - 1) % BLOCK_VERSIONS) as usize).ok_or(MISSING)?;
        Ok(Place::decode(place))
    }

    /// The places in a full block.
    fn full(&mut self, block: Block) -> Result<&[u8], Fault> {
        let places = match self.block.take() {
            Some((last, places)) if last == block => places,
            _ => {
                let key = block.key();
                let value = self.store.get(&key)?.ok_or(MISSING)?;
                self::block(&key, &value)?.to_vec()
            }
        };
        let (_, places) = self.block.insert((block, places));
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_line() -> impl Strategy<Value = Line> {
        let bytes = proptest::collection::vec(any::<u8>(), BLOCK_BYTES);
        (any::<[u32; 5]>(), bytes).prop_map(|(fields, mut open)| {
            let [number, version, first, last, seq] = fields.map(u64::from);
            let pointer = Pointer {
                number,
                version,
                first_time: Timestamp::from_millis(first),
                last_time: Timestamp::from_millis(last),
                seq,
            };
            open.truncate(pointer.open_versions() as usize * PLACE_BYTES);
            Line { pointer, open }
        })
    }

    proptest! {
        #[test]
        fn a_line_reads_back_under_its_own_key_and_any_flipped_bit_is_found(
            line in any_line(), mine: [u8; 9], other: [u8; 9], bit: prop::sample::Index,
        ) {
            let mut value = line.encode(&mine);
            prop_assert_eq!(value.len(), 44 + line.open.len());
            prop_assert_eq!(Pointer::decode(&mine, &value).unwrap(), line.pointer);
            prop_assert_eq!(Line::decode(&other, &value).is_ok(), mine == other);
            let bit = bit.index(value.len() * 8);
            value[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Line::decode(&mine, &value).is_err());
            value[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Line::decode(&mine, &value).unwrap(), line);
        }

        #[test]
        fn blocks_keep_their_order_and_hold_sixteen_versions(
            one in (1u64..3, 1u64..99), two in (1u64..3, 1u64..99),
        ) {
            let block = |(number, version)| Block::of(number, version);
            let order = |(number, version): (u64, u64)| (number, version.div_ceil(16));
            prop_assert_eq!(block(one).key().cmp(&block(two).key()), order(one).cmp(&order(two)));
            let first = block(one).first;
            prop_assert_eq!(first % 16, 1);
            prop_assert!((first..first + 16).contains(&one.1));
        }
    }
}

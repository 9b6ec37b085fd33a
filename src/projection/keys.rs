//! Keys and values of the one tree, and their one codec.
//!
//! Numbers are big-endian, so that the order of keys is the order of what they name. Every value
//! ends with a checksum over its key and itself, so that one that wandered to another key is found
//! too.
//!
//! ```text
//! key                                  value
//! 'a'                                  applied position, 85 bytes: `position` draws it
//! 'h' ‖ number (8) ‖ version (8)       the record's place in the log, 30 bytes:
//!                                       26  the place, as `journal::place` draws it
//!                                        4  CRC-32C of key and value so far
//! 'i' ‖ id (16)                        the place of the record with this id, in the same way;
//!                                      only of ids that do not name their place themselves
//! 'n' ‖ event ‖ 0x00 ‖ to              identity pointer, 44 bytes:
//!                                        8  number: seq of the identity's first record
//!                                        8  newest version, which is also the count
//!                                        8  time of the first record, ms since 1970
//!                                        8  time of the newest record, ms since 1970
//!                                        8  seq of the newest record
//!                                        4  CRC-32C of key and value so far
//! ```
//!
//! Neither names nor users hold a 0x00. A public identity ends with it, so it stands before the
//! private ones of the same event, and the keys stand in the order of [`Identity`].

use uuid::Uuid;

use super::store::Fault;
use crate::journal::{Located, PLACE_BYTES, Place};
use crate::record::{Identity, Meta, Name, Seq, Timestamp, User, Version, names_place};

/// The key of the applied position.
pub(super) const APPLIED: &[u8] = b"a";

/// First byte of the history.
pub(super) const HISTORY: u8 = b'h';

/// First byte of the ids.
pub(super) const IDS: u8 = b'i';

/// First byte of the identity pointers.
pub(super) const NAMES: u8 = b'n';

/// Length of a sealed place in bytes.
const PLACE_VALUE_BYTES: usize = PLACE_BYTES + 4;

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

/// Which record of the history an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) number: Seq,
    pub(super) version: Version,
}

impl Pointer {
    pub(super) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let fields = [
            self.number,
            self.version,
            self.first_time.millis(),
            self.last_time.millis(),
            self.seq,
        ];
        let mut value = Vec::with_capacity(44);
        for field in fields {
            value.extend_from_slice(&field.to_be_bytes());
        }
        seal(key, value)
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Self, Fault> {
        let rest = unseal(key, value).ok_or(Fault::Doubt("an identity pointer is damaged"))?;
        let (number, rest) = take_u64(rest)?;
        let (version, rest) = take_u64(rest)?;
        let (first_time, rest) = take_u64(rest)?;
        let (last_time, rest) = take_u64(rest)?;
        let (seq, rest) = take_u64(rest)?;
        end(rest)?;
        Ok(Self {
            number,
            version,
            first_time: Timestamp::from_millis(first_time),
            last_time: Timestamp::from_millis(last_time),
            seq,
        })
    }
}

impl Slot {
    pub(super) fn key(self) -> [u8; 17] {
        let mut key = [HISTORY; 17];
        key[1..9].copy_from_slice(&self.number.to_be_bytes());
        key[9..].copy_from_slice(&self.version.to_be_bytes());
        key
    }

    pub(super) fn of_key(key: &[u8]) -> Result<Self, Fault> {
        let [HISTORY, slot @ ..] = key else {
            return Err(Fault::Doubt("a history key is malformed"));
        };
        let (number, rest) = take_u64(slot)?;
        let (version, rest) = take_u64(rest)?;
        end(rest)?;
        Ok(Self { number, version })
    }
}

/// The value of a history or id entry.
pub(super) fn place_value(key: &[u8], place: &Place) -> [u8; PLACE_VALUE_BYTES] {
    let mut value = [0; PLACE_VALUE_BYTES];
    value[..PLACE_BYTES].copy_from_slice(&place.encode());
    let crc = checksum(key, &value[..PLACE_BYTES]);
    value[PLACE_BYTES..].copy_from_slice(&crc.to_be_bytes());
    value
}

/// The place in a history or id entry.
pub(super) fn place(key: &[u8], value: &[u8]) -> Result<Place, Fault> {
    let place = unseal(key, value).and_then(|place| place.try_into().ok());
    place.map(Place::decode).ok_or(Fault::Doubt("a place is damaged"))
}

/// The key of an id.
pub(super) fn id_key(id: &Uuid) -> [u8; 17] {
    let mut key = [IDS; 17];
    key[1..].copy_from_slice(id.as_bytes());
    key
}

/// The id entry of a record; nothing when its id names its place.
pub(super) fn id_entry(located: &Located) -> Option<([u8; 17], [u8; PLACE_VALUE_BYTES])> {
    let id = located.meta().id;
    if names_place(&id, located.seq, located.time) {
        return None;
    }
    let key = id_key(&id);
    Some((key, place_value(&key, &located.place)))
}

/// The key of an identity's pointer.
pub(super) fn name_key(identity: &Identity) -> Vec<u8> {
    let to = identity.to.as_ref().map_or("", User::as_str);
    let mut key = Vec::new();
    write_name_key(&mut key, identity.event.as_str(), to);
    key
}

/// Puts the key of the pointer of a record's identity in the place of what `key` holds.
pub(super) fn name_key_into(key: &mut Vec<u8>, meta: &Meta<'_>) {
    key.clear();
    write_name_key(key, meta.event, meta.to.unwrap_or_default());
}

fn write_name_key(key: &mut Vec<u8>, event: &str, to: &str) {
    key.reserve(2 + event.len() + to.len());
    key.push(NAMES);
    key.extend_from_slice(event.as_bytes());
    key.push(0);
    key.extend_from_slice(to.as_bytes());
}

/// The identity that a pointer's key names.
pub(super) fn identity(key: &[u8]) -> Result<Identity, Fault> {
    const MALFORMED: Fault = Fault::Doubt("an identity key is malformed");
    let [NAMES, names @ ..] = key else { return Err(MALFORMED) };
    let names = std::str::from_utf8(names).map_err(|_| MALFORMED)?;
    let (event, to) = names.split_once('\0').ok_or(MALFORMED)?;
    let event = Name::stored(event).map_err(|_| MALFORMED)?;
    let to = if to.is_empty() { None } else { Some(User::stored(to).map_err(|_| MALFORMED)?) };
    Ok(Identity { event, to })
}

pub(super) fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let crc = checksum(key, &value);
    value.extend_from_slice(&crc.to_be_bytes());
    value
}

pub(super) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (value, crc) = value.split_last_chunk::<4>()?;
    (checksum(key, value) == u32::from_be_bytes(*crc)).then_some(value)
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

pub(super) fn take<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), Fault> {
    let (field, rest) = bytes.split_first_chunk::<N>().ok_or(Fault::Doubt("a value is short"))?;
    Ok((*field, rest))
}

pub(super) fn take_u64(bytes: &[u8]) -> Result<(u64, &[u8]), Fault> {
    take::<8>(bytes).map(|(field, rest)| (u64::from_be_bytes(field), rest))
}

pub(super) fn end(rest: &[u8]) -> Result<(), Fault> {
    if rest.is_empty() { Ok(()) } else { Err(Fault::Doubt("a value is too long")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_identity() -> impl Strategy<Value = Identity> {
        let to = proptest::option::of("[a-z@é]{1,6}");
        ("[a-cé]{1,3}(\\.[a-c]{1,3}){0,2}", to).prop_map(|(event, to)| Identity {
            event: Name::stored(&event).unwrap(),
            to: to.map(|user| User::stored(&user).unwrap()),
        })
    }

    proptest! {
        #[test]
        fn a_pointer_reads_back_only_under_its_own_key(
            fields: [u32; 5], mine in any_identity(), other in any_identity(),
        ) {
            let [number, version, first, last, seq] = fields.map(u64::from);
            let pointer = Pointer {
                number,
                version,
                first_time: Timestamp::from_millis(first),
                last_time: Timestamp::from_millis(last),
                seq,
            };
            let (mine, other) = (name_key(&mine), name_key(&other));
            let value = pointer.encode(&mine);
            prop_assert_eq!(value.len(), 44);
            prop_assert_eq!(Pointer::decode(&mine, &value).unwrap(), pointer);
            prop_assert_eq!(Pointer::decode(&other, &value).is_ok(), mine == other);
        }

        #[test]
        fn keys_of_identities_read_back_and_keep_their_order(
            one in any_identity(), two in any_identity(),
        ) {
            prop_assert_eq!(&identity(&name_key(&one)).unwrap(), &one);
            prop_assert_eq!(name_key(&one).cmp(&name_key(&two)), one.cmp(&two));
        }

        #[test]
        fn slots_read_back_and_keep_their_order(one: (u64, u64), two: (u64, u64)) {
            let slot = |(number, version)| Slot { number, version };
            prop_assert_eq!(Slot::of_key(&slot(one).key()).unwrap(), slot(one));
            prop_assert_eq!(slot(one).key().cmp(&slot(two).key()), one.cmp(&two));
        }

        #[test]
        fn a_place_reads_back_under_its_own_key_and_any_flipped_bit_is_found(
            bytes: [u8; PLACE_BYTES], mine: (u64, u64), other: (u64, u64),
            bit in 0usize..PLACE_VALUE_BYTES * 8,
        ) {
            let key = |(number, version)| Slot { number, version }.key();
            let (mine, other, of) = (key(mine), key(other), Place::decode(&bytes));
            let mut value = place_value(&mine, &of);
            prop_assert_eq!(place(&mine, &value).unwrap(), of);
            prop_assert_eq!(place(&other, &value).is_ok(), mine == other);
            prop_assert!(place(&mine, &value[1..]).is_err());
            value[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(place(&mine, &value).is_err());
        }
    }
}

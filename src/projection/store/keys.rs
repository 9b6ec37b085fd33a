//! Keys and values of the one tree, and their one codec.
//!
//! Numbers are big-endian, so keys sort like the things they name. Every value ends with a checksum
//! over its key and itself, which also detects a value stored under another key.
//!
//! ```text
//! key                                  value
//! 'a'                                  applied position, 85 bytes: see `position`
//! 'h' ‖ number (8) ‖ version (8)       a full block: the locations of 16 versions, this the first
//! 'i' ‖ id (16)                        the location of the record with this id, 42 bytes:
//!                                       38  the location, as drawn in `journal::read::location`
//!                                        4  CRC-32C of key and value so far
//!                                      only for ids that do not encode their location
//! 'n' ‖ event ‖ 0x00 ‖ to              identity pointer and open block: see `versions`
//! ```
//!
//! Neither names nor users contain 0x00. The key of a public identity ends with it, so it sorts
//! before the private ones of the same event, and the keys sort in the order of [`Identity`].

use uuid::Uuid;

use crate::journal::{LOCATION_BYTES, LocatedRecord, Location};
use crate::projection::store::StoreFault;
use crate::record::{Identity, Meta, Name, User, is_self_locating};

/// The key of the applied position.
pub const APPLIED: &[u8] = b"a";

/// First byte of the keys of the history.
pub const HISTORY: u8 = b'h';

/// First byte of the keys of the id index.
pub const IDS: u8 = b'i';

/// First byte of the keys of identity pointers.
pub const NAMES: u8 = b'n';

/// Length of the value of an id entry in bytes.
const LOCATION_VALUE_BYTES: usize = LOCATION_BYTES + 4;

/// The value of an id entry.
pub fn location_value(key: &[u8], location: &Location) -> [u8; LOCATION_VALUE_BYTES] {
    let mut value = [0; LOCATION_VALUE_BYTES];
    value[..LOCATION_BYTES].copy_from_slice(&location.encode());
    let crc = checksum(key, &value[..LOCATION_BYTES]);
    value[LOCATION_BYTES..].copy_from_slice(&crc.to_be_bytes());
    value
}

/// The location in an id entry.
pub fn decode_location(key: &[u8], value: &[u8]) -> Result<Location, StoreFault> {
    let location = unseal(key, value).and_then(|location| location.try_into().ok());
    location.map(Location::decode).ok_or(StoreFault::Invalid("a location is damaged"))
}

/// The key of an id.
pub fn id_key(id: &Uuid) -> [u8; 17] {
    let mut key = [IDS; 17];
    key[1..].copy_from_slice(id.as_bytes());
    key
}

/// The id entry of a record; `None` when its id encodes its location.
pub fn id_entry(located: &LocatedRecord) -> Option<([u8; 17], [u8; LOCATION_VALUE_BYTES])> {
    let id = located.meta().id;
    if is_self_locating(&id, located.seq(), located.time()) {
        return None;
    }
    let key = id_key(&id);
    Some((key, location_value(&key, &located.location)))
}

/// The key of an identity's pointer.
pub fn name_key(identity: &Identity) -> Vec<u8> {
    let to = identity.to.as_ref().map_or("", User::as_str);
    let mut key = Vec::new();
    write_name_key(&mut key, identity.event.as_str(), to);
    key
}

/// Replaces `key` by the key of the pointer of a record's identity.
pub fn name_key_into(key: &mut Vec<u8>, meta: &Meta<'_>) {
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

/// The identity in a pointer's key.
pub fn identity(key: &[u8]) -> Result<Identity, StoreFault> {
    const MALFORMED: StoreFault = StoreFault::Invalid("an identity key is malformed");
    let [NAMES, names @ ..] = key else { return Err(MALFORMED) };
    let names = std::str::from_utf8(names).map_err(|_| MALFORMED)?;
    let (event, to) = names.split_once('\0').ok_or(MALFORMED)?;
    let event = Name::stored(event).map_err(|_| MALFORMED)?;
    let to = if to.is_empty() { None } else { Some(User::stored(to).map_err(|_| MALFORMED)?) };
    Ok(Identity { event, to })
}

pub fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let crc = checksum(key, &value);
    value.extend_from_slice(&crc.to_be_bytes());
    value
}

pub fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (value, crc) = value.split_last_chunk::<4>()?;
    (checksum(key, value) == u32::from_be_bytes(*crc)).then_some(value)
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

pub fn take<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), StoreFault> {
    let (field, rest) =
        bytes.split_first_chunk::<N>().ok_or(StoreFault::Invalid("a value is short"))?;
    Ok((*field, rest))
}

pub fn take_u64(bytes: &[u8]) -> Result<(u64, &[u8]), StoreFault> {
    take::<8>(bytes).map(|(field, rest)| (u64::from_be_bytes(field), rest))
}

pub fn end(rest: &[u8]) -> Result<(), StoreFault> {
    if rest.is_empty() { Ok(()) } else { Err(StoreFault::Invalid("a value is too long")) }
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
        fn identity_keys_read_back_and_keep_the_order_of_identities(
            one in any_identity(), two in any_identity(),
        ) {
            prop_assert_eq!(&identity(&name_key(&one)).unwrap(), &one);
            prop_assert_eq!(name_key(&one).cmp(&name_key(&two)), one.cmp(&two));
        }

        #[test]
        fn location_reads_back_under_its_own_key_and_detects_any_flipped_bit(
            bytes: [u8; LOCATION_BYTES], mine: u128, other: u128,
            bit in 0usize..LOCATION_VALUE_BYTES * 8,
        ) {
            let key = |id| id_key(&Uuid::from_u128(id));
            let (mine, other, location) = (key(mine), key(other), Location::decode(&bytes));
            let mut value = location_value(&mine, &location);
            prop_assert_eq!(decode_location(&mine, &value).unwrap(), location);
            prop_assert_eq!(decode_location(&other, &value).is_ok(), mine == other);
            prop_assert!(decode_location(&mine, &value[1..]).is_err());
            value[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode_location(&mine, &value).is_err());
        }
    }
}

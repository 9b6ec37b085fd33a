//! Keys and values of the one tree, and their one codec.
//!
//! Numbers are big-endian, so that the order of keys is the order of what they name. Everything
//! but history entries and id entries, whose target is checked instead, ends with a checksum over
//! its key and value, so that a value that wandered to another key is found too.
//!
//! ```text
//! key                                  value
//! 'a'                                  applied position, 61 bytes:
//!                                        1  format, 0
//!                                       16  log id
//!                                        8  seq of the last record applied
//!                                       32  chain digest after that record
//!                                        4  CRC-32C of key and value so far
//! 'h' ‖ number (8) ‖ version (8)       the record, as `record::stored` draws it
//! 'i' ‖ id (16)                        number (8) ‖ version (8) of the record with this id
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
use crate::audit::Digest;
use crate::record::{Identity, Name, Seq, Timestamp, User, Version};

/// The key of the applied position.
pub(super) const APPLIED: &[u8] = b"a";

/// First byte of the history.
pub(super) const HISTORY: u8 = b'h';

/// First byte of the ids.
pub(super) const IDS: u8 = b'i';

/// First byte of the identity pointers.
pub(super) const NAMES: u8 = b'n';

const FORMAT: u8 = 0;

/// How far the projection has come, written in the same batch as what it tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Seq of the last record applied; 0 before the first.
    pub seq: Seq,
    /// The chain digest after that record.
    pub chain: Digest,
}

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

/// Where in the history a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) number: Seq,
    pub(super) version: Version,
}

impl Applied {
    pub(super) fn encode(&self, log_id: Uuid) -> Vec<u8> {
        let mut value = Vec::with_capacity(61);
        value.push(FORMAT);
        value.extend_from_slice(log_id.as_bytes());
        value.extend_from_slice(&self.seq.to_be_bytes());
        value.extend_from_slice(&self.chain);
        seal(APPLIED, value)
    }

    /// Reads the position, and refuses that of another log.
    pub(super) fn decode(value: &[u8], log_id: Uuid) -> Result<Self, Fault> {
        let rest = unseal(APPLIED, value).ok_or(Fault::Doubt("the position is damaged"))?;
        let (format, rest) = take::<1>(rest)?;
        if format != [FORMAT] {
            return Err(Fault::Doubt("the format is not known to this version"));
        }
        let (log, rest) = take::<16>(rest)?;
        if log != *log_id.as_bytes() {
            return Err(Fault::Doubt("it was derived from another log"));
        }
        let (seq, rest) = take_u64(rest)?;
        let (chain, rest) = take::<32>(rest)?;
        end(rest)?;
        Ok(Self { seq, chain })
    }
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

impl Place {
    pub(super) fn key(self) -> [u8; 17] {
        let mut key = [HISTORY; 17];
        key[1..].copy_from_slice(&self.encode());
        key
    }

    pub(super) fn of_key(key: &[u8]) -> Result<Self, Fault> {
        match key {
            [HISTORY, place @ ..] => Self::decode(place),
            _ => Err(Fault::Doubt("a history key is malformed")),
        }
    }

    pub(super) fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.number.to_be_bytes());
        bytes[8..].copy_from_slice(&self.version.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let (number, rest) = take_u64(bytes)?;
        let (version, rest) = take_u64(rest)?;
        end(rest)?;
        Ok(Self { number, version })
    }
}

/// The key of an id.
pub(super) fn id_key(id: &Uuid) -> [u8; 17] {
    let mut key = [IDS; 17];
    key[1..].copy_from_slice(id.as_bytes());
    key
}

/// The key of an identity's pointer.
pub(super) fn name_key(identity: &Identity) -> Vec<u8> {
    let event = identity.event.as_str().as_bytes();
    let to = identity.to.as_ref().map_or("", User::as_str).as_bytes();
    let mut key = Vec::with_capacity(2 + event.len() + to.len());
    key.push(NAMES);
    key.extend_from_slice(event);
    key.push(0);
    key.extend_from_slice(to);
    key
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

fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), &value);
    value.extend_from_slice(&crc.to_be_bytes());
    value
}

fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (value, crc) = value.split_last_chunk::<4>()?;
    let good = crc32c::crc32c_append(crc32c::crc32c(key), value) == u32::from_be_bytes(*crc);
    good.then_some(value)
}

fn take<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), Fault> {
    let (field, rest) = bytes.split_first_chunk::<N>().ok_or(Fault::Doubt("a value is short"))?;
    Ok((*field, rest))
}

fn take_u64(bytes: &[u8]) -> Result<(u64, &[u8]), Fault> {
    take::<8>(bytes).map(|(field, rest)| (u64::from_be_bytes(field), rest))
}

fn end(rest: &[u8]) -> Result<(), Fault> {
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
        fn a_position_reads_back_and_any_flipped_bit_is_found(
            seq: u64, chain: [u8; 32], log: [u8; 16], bit in 0usize..61 * 8,
        ) {
            let (applied, log_id) = (Applied { seq, chain }, Uuid::from_bytes(log));
            let mut value = applied.encode(log_id);
            prop_assert_eq!(value.len(), 61);
            prop_assert_eq!(Applied::decode(&value, log_id).unwrap(), applied);
            prop_assert!(Applied::decode(&value, Uuid::from_u128(!log_id.as_u128())).is_err());
            value[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Applied::decode(&value, log_id).is_err());
        }

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
        fn places_read_back_and_keep_their_order(one: (u64, u64), two: (u64, u64)) {
            let place = |(number, version)| Place { number, version };
            prop_assert_eq!(Place::of_key(&place(one).key()).unwrap(), place(one));
            prop_assert_eq!(place(one).key().cmp(&place(two).key()), one.cmp(&two));
        }
    }
}

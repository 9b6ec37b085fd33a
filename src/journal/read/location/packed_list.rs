//! The packed list: several locations, each encoded as the difference to the previous one.
//!
//! The versions of an identity have similar locations, so one takes about 15 bytes in a list, about
//! 22 as its first, and 38 alone. A list can hold any locations in any order and has exactly one
//! encoding. It has no checksum: an index that stores it adds one.
//!
//! ```text
//! bytes    field, minus that of the previous location; all zeros before the first
//!  1 - 10  seq
//!  1 - 10  time, milliseconds since 1970-01-01T00:00:00Z
//!  1 - 5   number of the segment
//!  1 - 10  offset of the meta part, zigzag
//!  1 - 3   length of the meta, zigzag
//!  1 - 5   length of the data, zigzag
//!       4  CRC-32C of the leaf, big-endian; not a difference
//! ```
//!
//! Differences wrap around at the width of their field and are minimal unsigned varints: seven bits
//! a byte, the lowest first, the high bit set in all except the last byte (multiformats
//! unsigned-varint, but up to ten bytes). Zigzag maps 0, -1, 1, -2 to 0, 1, 2, 3.

use unsigned_varint::{decode, encode};

use crate::journal::read::location::codec::Location;

/// An encoded list of locations that can be appended to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackedList {
    bytes: Vec<u8>,
    last: Location,
}

impl PackedList {
    /// Decodes all locations; `None` if the bytes are not a packed list.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Vec<Location>> {
        locations(bytes).collect()
    }

    /// Restores a list and counts its locations; `None` if the bytes are not a packed list.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, u64)> {
        let (mut last, mut count) = (Location::default(), 0);
        for location in locations(bytes) {
            last = location?;
            count += 1;
        }
        Some((Self { bytes: bytes.to_vec(), last }, count))
    }

    /// Appends a location.
    pub fn push(&mut self, location: &Location) {
        let before = std::mem::replace(&mut self.last, *location);
        self.put(location.seq.wrapping_sub(before.seq));
        self.put(location.time_ms.wrapping_sub(before.time_ms));
        self.put(location.segment.wrapping_sub(before.segment).into());
        let at = location.parts_at.wrapping_sub(before.parts_at).cast_signed();
        self.put(((at << 1) ^ (at >> 63)).cast_unsigned());
        let meta = location.meta_bytes.wrapping_sub(before.meta_bytes).cast_signed();
        self.put(((meta << 1) ^ (meta >> 15)).cast_unsigned().into());
        let data = location.data_bytes.wrapping_sub(before.data_bytes).cast_signed();
        self.put(((data << 1) ^ (data >> 31)).cast_unsigned().into());
        self.bytes.extend_from_slice(&location.leaf_crc.to_be_bytes());
    }

    fn put(&mut self, number: u64) {
        self.bytes.extend_from_slice(encode::u64(number, &mut encode::u64_buffer()));
    }

    /// The encoded list.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The encoded list, by value.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The locations of a list; the last item is `None` if the bytes do not end with a location.
fn locations(bytes: &[u8]) -> impl Iterator<Item = Option<Location>> {
    let (mut before, mut rest) = (Location::default(), bytes);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = after(&before, rest);
        (before, rest) = next.unwrap_or_default();
        Some(next.map(|(location, _)| location))
    })
}

/// Decodes the location at the start of `bytes`; returns it and the rest.
fn after<'a>(before: &Location, bytes: &'a [u8]) -> Option<(Location, &'a [u8])> {
    let (seq, rest) = take::<u64>(bytes)?;
    let (time, rest) = take::<u64>(rest)?;
    let (segment, rest) = take::<u32>(rest)?;
    let (at, rest) = take::<u64>(rest)?;
    let (meta, rest) = take::<u16>(rest)?;
    let (data, rest) = take::<u32>(rest)?;
    let (leaf_crc, rest) = rest.split_first_chunk()?;
    let at = (at >> 1) ^ (at & 1).wrapping_neg();
    let meta = (meta >> 1) ^ (meta & 1).wrapping_neg();
    let data = (data >> 1) ^ (data & 1).wrapping_neg();
    let location = Location {
        seq: before.seq.wrapping_add(seq),
        time_ms: before.time_ms.wrapping_add(time),
        segment: before.segment.wrapping_add(segment),
        parts_at: before.parts_at.wrapping_add(at),
        meta_bytes: before.meta_bytes.wrapping_add(meta),
        data_bytes: before.data_bytes.wrapping_add(data),
        leaf_crc: u32::from_be_bytes(*leaf_crc),
    };
    Some((location, rest))
}

/// Decodes the number at the start of `bytes`; returns it and the rest.
fn take<T: TryFrom<u64>>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let (number, rest) = decode::u64(bytes).ok()?;
    // The decoder uses only one bit of a tenth byte and ignores the others.
    let has_more = bytes.len() - rest.len() == 10 && bytes[9] > 1;
    if has_more { None } else { Some((number.try_into().ok()?, rest)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::read::location::codec::LOCATION_BYTES;

    fn list_of(locations: &[Location]) -> PackedList {
        let mut list = PackedList::default();
        locations.iter().for_each(|location| list.push(location));
        list
    }

    proptest! {
        #[test]
        fn any_locations_round_trip_and_can_be_appended_to(
            locations in prop::collection::vec(any::<[u8; LOCATION_BYTES]>(), 0..9),
            add: prop::sample::Index,
        ) {
            let locations: Vec<_> = locations.iter().map(Location::decode).collect();
            let list = list_of(&locations);
            prop_assert_eq!(PackedList::read(list.bytes()).unwrap(), &locations[..]);
            let (begun, rest) = locations.split_at(add.index(locations.len() + 1));
            let (mut read, count) = PackedList::decode(list_of(begun).bytes()).unwrap();
            prop_assert_eq!(count, begun.len() as u64);
            rest.iter().for_each(|location| read.push(location));
            prop_assert_eq!(read, list);
        }

        #[test]
        fn accepted_bytes_are_the_canonical_encoding(bytes: Vec<u8>) {
            let locations = PackedList::read(&bytes);
            prop_assert_eq!(locations.is_some(), PackedList::decode(&bytes).is_some());
            if let Some(locations) = locations {
                prop_assert_eq!(list_of(&locations).into_bytes(), bytes);
            }
        }
    }

    /// Encodes one number in a location of zeros, up to the widest that its field allows.
    #[test]
    fn number_must_fit_its_field_and_be_minimal() {
        let wide = |last| [&[0xff; 9][..], &[last]].concat();
        let long = (vec![wide(1)], vec![wide(2), wide(0x7f), wide(0xff)]);
        let int = |last| vec![0xff, 0xff, 0xff, 0xff, last];
        let int = (vec![int(0x0f)], vec![int(0x10), wide(1)]);
        let short = (vec![vec![0xff, 0xff, 3]], vec![vec![0xff, 0xff, 4], wide(1)]);
        for (index, (taken, refused)) in
            [&long, &long, &int, &long, &short, &int].into_iter().enumerate()
        {
            let encode =
                |number: &[u8]| [&[0; 5][..index], number, &[0; 5][index..], &[0; 4]].concat();
            for number in taken.iter().chain([&vec![0]]) {
                let bytes = encode(number);
                let locations = PackedList::read(&bytes).unwrap();
                assert_eq!(list_of(&locations).bytes(), bytes, "field {index}");
            }
            for number in refused.iter().chain([&vec![0x80, 0]]) {
                assert_eq!(PackedList::read(&encode(number)), None, "field {index}: {number:x?}");
            }
        }
    }

    /// The example of the format document: the second location is 16,384 records and 300 ms later,
    /// in the next segment, two bytes nearer to its start, with one more byte of data.
    #[test]
    fn packed_list_is_encoded_as_documented() {
        let first = Location {
            seq: 1,
            time_ms: 300,
            segment: 1,
            parts_at: 268,
            meta_bytes: 36,
            data_bytes: 102,
            leaf_crc: 0x9be6_4a73,
        };
        let second = Location {
            seq: 16_385,
            time_ms: 600,
            segment: 2,
            parts_at: 266,
            meta_bytes: 36,
            data_bytes: 103,
            leaf_crc: 0xb4eb_f588,
        };
        let list = list_of(&[first, second]);
        let first_bytes = *b"\x01\xac\x02\x01\x98\x04\x48\xcc\x01\x9b\xe6\x4a\x73";
        let second_bytes = *b"\x80\x80\x01\xac\x02\x01\x03\x00\x02\xb4\xeb\xf5\x88";
        assert_eq!(list.bytes(), [first_bytes, second_bytes].concat());
        for len in 0..list.bytes().len() {
            let at_a_boundary = [0, 13].contains(&len);
            assert_eq!(
                PackedList::decode(&list.bytes()[..len]).is_some(),
                at_a_boundary,
                "{len} bytes"
            );
        }
    }
}

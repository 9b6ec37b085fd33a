//! Locations: where a record is in the log, so that it can be read without decoding its group.
//!
//! **Owns** the location of a record, the codecs of one and of several, and reading
//! records by location.
//!
//! **Promises** that a record read by its location is the one that the location was made for, as it
//! was written: its parts have checksums, and the leaf computed from them and from the location's
//! seq and time must match the checksum in the location. The leaf in the group, which is stored
//! apart from the parts, and the lengths there are not read: damage to only those is detected by a
//! read of the whole log.
//!
//! **Does not** protect the location itself: an index that stores it adds a checksum, and so can
//! distinguish a damaged location from a damaged log.
//!
//! A location stays valid forever: groups are never moved.

mod codec;
mod located_record;
mod packed_list;
mod records;
mod span;

pub use codec::{LOCATION_BYTES, Location};
pub use located_record::LocatedRecord;
pub use packed_list::PackedList;
pub use records::{LocationError, read_records};

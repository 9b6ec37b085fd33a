//! The parts of a record that an index needs.

use crate::audit::LEAF_BYTES;
use crate::journal::format::frame::GroupEntry;
use crate::journal::read::index::GroupOffset;
use crate::journal::read::location::codec::Location;
use crate::record::{Meta, Seq, Timestamp};

/// The parts of a record that an index needs: its leaf, meta and location.
#[derive(Clone, Debug)]
pub struct LocatedRecord {
    /// Its encoded leaf.
    pub leaf: [u8; LEAF_BYTES],
    /// Where it is in the log.
    pub location: Location,
    meta: Box<[u8]>,
}

impl LocatedRecord {
    /// For an entry of the group at `group`, whose meta was decoded before.
    pub fn new(entry: &GroupEntry<'_>, meta: &[u8], group: GroupOffset) -> Self {
        Self { leaf: *entry.leaf, location: Location::new(entry, meta, group), meta: meta.into() }
    }

    /// Seq of the record.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.location.seq
    }

    /// Time of the record.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.location.time()
    }

    /// Meta of the record.
    #[must_use]
    pub fn meta(&self) -> Meta<'_> {
        Meta::decode(&self.meta).expect("the follower decoded it before")
    }
}

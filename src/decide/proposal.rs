//! Proposals, what bounds them, and the events of a proposal that were inserted before.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use crate::audit::Salts;
use crate::decide::rejection::Rejection;
use crate::record::{NewEvent, Record};

/// Events that are appended together or not at all, decided in order.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The events; one, or a batch.
    pub events: Vec<Proposed>,
}

/// An event with the random bytes for its record, drawn before the fold.
#[derive(Clone, Debug)]
pub struct Proposed {
    /// The event.
    pub event: NewEvent,
    /// Salts of the record's commitments.
    pub salts: Salts,
    /// Random part of a server-made id.
    pub id_random: [u8; 5],
}

/// Bounds on the latest records, which are held in memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of identities.
    pub events_max: usize,
    /// Maximum bytes of the latest records' data.
    pub latest_bytes_max: usize,
    /// Maximum number of consumers' positions.
    pub consumers_max: usize,
}

impl Limits {
    /// No bounds.
    pub const NONE: Self =
        Self { events_max: usize::MAX, latest_bytes_max: usize::MAX, consumers_max: usize::MAX };
}

/// Finds ids among all committed records and those decided but not yet committed.
pub trait SeenIds {
    /// The record with this id.
    fn find(&self, id: &Uuid) -> Option<Arc<Record>>;
}

/// The answer to an accepted proposal.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Append these records, in this order.
    Append(Vec<Arc<Record>>),
    /// Every event was inserted before; these are the original records.
    Known(Vec<Arc<Record>>),
}

/// The original records if every event was inserted before, `None` if none was.
pub(super) fn find_known(
    proposal: &Proposal,
    seen: &impl SeenIds,
) -> Result<Option<Vec<Arc<Record>>>, Rejection> {
    let len = proposal.events.len();
    let mut ids = HashSet::new();
    let mut known = Vec::new();
    for (index, Proposed { event, .. }) in proposal.events.iter().enumerate() {
        let Some(id) = event.id else { continue };
        if len > 1 && !ids.insert(id) {
            return Err(Rejection::IdTwice { index, id });
        }
        if let Some(record) = seen.find(&id) {
            if !is_same_insert(&record, event) {
                return Err(Rejection::IdTaken { index, id });
            }
            known.push(record);
        }
    }
    match known.len() {
        0 => Ok(None),
        seen if seen < len => Err(Rejection::PartlySeen { seen, len }),
        _ => Ok(Some(known)),
    }
}

/// Whether `event`, which has the record's id, is the insert that created the record.
pub fn is_same_insert(record: &Record, event: &NewEvent) -> bool {
    record.author() == event.author.as_ref()
        && record.identity() == &event.identity
        && record.data() == event.data.as_bytes()
}

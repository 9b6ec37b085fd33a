//! Decides proposals one after the other: a pure fold that answers records or a rejection.
//!
//! Owns versions, the last seq and the last time, and the rules of ids, `expected_version`,
//! atomic batches and limits.
//! Promises that equal proposals in equal order, with equal times and random bytes, produce equal
//! records, so that every process that folds the same order decides alike.
//! Does not do I/O or read a clock.

mod proposal;
mod rejection;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use proposal::{Limits, Proposal, Proposed, SeenIds, Verdict, is_same_insert};
pub use rejection::Rejection;

use crate::decide::proposal::find_known;
use crate::record::{Identity, NewEvent, Record, RecordParts, Seq, Timestamp, Version, server_id};

/// The state that the fold carries from proposal to proposal.
#[derive(Debug)]
pub struct FoldState {
    /// What lets proposals in is part of the state, so that every process that folds the same order
    /// rejects the same proposals.
    limits: Limits,
    latest: HashMap<Identity, HeldVersion>,
    /// Identities and bytes of data that count towards the limits: all except system records.
    events: usize,
    latest_bytes: usize,
    consumers: usize,
    last_seq: Seq,
    last_time: Timestamp,
    /// The versions that were replaced since the last [`FoldState::settle`], oldest first.
    unsettled: Vec<(Identity, Option<HeldVersion>)>,
    settled_time: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct HeldVersion {
    version: Version,
    data_bytes: usize,
}

impl Default for FoldState {
    /// The state of an empty log, without limits.
    fn default() -> Self {
        Self::new(Limits::NONE)
    }
}

impl FoldState {
    /// The state of an empty log.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            latest: HashMap::new(),
            events: 0,
            latest_bytes: 0,
            consumers: 0,
            last_seq: 0,
            last_time: Timestamp::default(),
            unsettled: Vec::new(),
            settled_time: Timestamp::default(),
        }
    }

    /// Adds a committed record during replay of the log, in seq order.
    pub fn restore(&mut self, record: RestoredRecord) {
        let version = record.version;
        let before = self.restore_latest(record);
        assert_eq!(before + 1, version, "versions have no gaps");
    }

    /// Adds a committed record during replay, in seq order, of whose identity earlier records may
    /// have been skipped; returns the previous latest version, or 0.
    pub fn restore_latest(&mut self, record: RestoredRecord) -> Version {
        self.last_seq = record.seq;
        self.last_time = self.last_time.max(record.time);
        let (_, before) = self.set_latest(record.identity, |_| record.version, record.data_bytes);
        self.settle();
        before
    }

    /// Everything decided so far is durable.
    pub fn settle(&mut self) {
        self.unsettled.clear();
        self.settled_time = self.last_time;
    }

    /// Undoes everything decided since the last [`FoldState::settle`], which was not stored and
    /// never will be.
    pub fn undo(&mut self) {
        while let Some((identity, before)) = self.unsettled.pop() {
            let now = match before {
                Some(held) => self.latest.insert(identity.clone(), held),
                None => self.latest.remove(&identity),
            };
            let now = now.expect("each undone identity has a latest version");
            self.count(&identity, Some(now), before);
            self.last_seq -= 1;
        }
        self.last_time = self.settled_time;
    }

    /// The seq of the last decided record.
    #[cfg(test)]
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// Bytes of the latest records' data.
    #[cfg(test)]
    #[must_use]
    pub fn latest_bytes(&self) -> usize {
        self.latest_bytes
    }

    /// Decides one proposal. The state changes only with [`Verdict::Append`].
    ///
    /// # Errors
    /// [`Rejection`], when nothing is to be stored.
    pub fn decide(
        &mut self,
        proposal: Proposal,
        seen: &impl SeenIds,
        now: Timestamp,
    ) -> Result<Verdict, Rejection> {
        if proposal.events.is_empty() {
            return Err(Rejection::EmptyBatch);
        }
        if let Some(known) = find_known(&proposal, seen)? {
            return Ok(Verdict::Known(known));
        }
        if let [only] = proposal.events.as_slice() {
            self.check_single(&only.event, &proposal)?;
        } else {
            self.check_versions(&proposal)?;
            self.check_limits(&proposal)?;
        }
        let time = now.max(self.last_time);
        self.last_time = time;
        let records = proposal.events.into_iter().map(|event| self.append(event, time)).collect();
        Ok(Verdict::Append(records))
    }

    /// Updates the counts when the latest version of an identity changes.
    fn count(
        &mut self,
        identity: &Identity,
        before: Option<HeldVersion>,
        now: Option<HeldVersion>,
    ) {
        if identity.event.is_system() {
            if identity.event.is_consumer() {
                self.consumers -= usize::from(before.is_some());
                self.consumers += usize::from(now.is_some());
            }
            return;
        }
        self.events -= usize::from(before.is_some());
        self.events += usize::from(now.is_some());
        self.latest_bytes -= before.map_or(0, |held| held.data_bytes);
        self.latest_bytes += now.map_or(0, |held| held.data_bytes);
    }

    fn version(&self, identity: &Identity) -> Version {
        self.latest.get(identity).map_or(0, |held| held.version)
    }

    /// Like `check_versions` and `check_limits` for one event, with a single look-up: most
    /// proposals are one event of an existing identity.
    fn check_single(&self, only: &NewEvent, proposal: &Proposal) -> Result<(), Rejection> {
        let held = self.latest.get(&only.identity);
        check_version(0, only, held.map_or(0, |held| held.version))?;
        if held.is_some() { Ok(()) } else { self.check_limits(proposal) }
    }

    /// Checks expected versions; each event of a batch sees the versions of those before it.
    fn check_versions(&self, proposal: &Proposal) -> Result<(), Rejection> {
        let mut versions: HashMap<&Identity, Version> = HashMap::new();
        for (index, Proposed { event, .. }) in proposal.events.iter().enumerate() {
            let version =
                versions.entry(&event.identity).or_insert_with(|| self.version(&event.identity));
            check_version(index, event, *version)?;
            *version += 1;
        }
        Ok(())
    }

    /// Checks that new identities fit into the limits. System records do not count, except the
    /// positions of consumers, which clients create.
    fn check_limits(&self, proposal: &Proposal) -> Result<(), Rejection> {
        let limits = self.limits;
        let (mut new, mut consumers) = (HashMap::new(), HashSet::new());
        for Proposed { event, .. } in &proposal.events {
            let identity = &event.identity;
            if self.latest.contains_key(identity) {
                continue;
            }
            if identity.event.is_consumer() {
                consumers.insert(identity);
            }
            if !identity.event.is_system() {
                new.insert(identity, event.data.as_bytes().len());
            }
        }
        if !consumers.is_empty() && self.consumers + consumers.len() > limits.consumers_max {
            return Err(Rejection::TooManyConsumers { limit: limits.consumers_max });
        }
        if new.is_empty() {
            return Ok(());
        }
        if self.events + new.len() > limits.events_max {
            return Err(Rejection::TooManyEvents { limit: limits.events_max });
        }
        if self.latest_bytes + new.values().sum::<usize>() > limits.latest_bytes_max {
            return Err(Rejection::TooManyBytes { limit: limits.latest_bytes_max });
        }
        Ok(())
    }

    fn append(&mut self, proposed: Proposed, time: Timestamp) -> Arc<Record> {
        let Proposed { event, salts, id_random } = proposed;
        self.last_seq += 1;
        let data = event.data.as_bytes();
        let (identity, before) = self.set_latest(event.identity, |before| before + 1, data.len());
        let id = event.id.unwrap_or_else(|| server_id(self.last_seq, time, id_random));
        Arc::new(Record::new(RecordParts {
            seq: self.last_seq,
            identity,
            version: before + 1,
            id,
            time,
            author: event.author,
            salts,
            data,
        }))
    }

    /// Sets the latest version of an identity, computed from the previous one. Returns the identity
    /// as stored in the map, so that all its records share one allocation, and the previous
    /// version, or 0.
    fn set_latest(
        &mut self,
        identity: Identity,
        version: impl FnOnce(Version) -> Version,
        data_bytes: usize,
    ) -> (Identity, Version) {
        let entry = self.latest.entry(identity);
        let shared = entry.key().clone();
        let before = match &entry {
            Entry::Occupied(held) => Some(*held.get()),
            Entry::Vacant(_) => None,
        };
        let version_before = before.map_or(0, |held| held.version);
        let held = HeldVersion { version: version(version_before), data_bytes };
        entry.insert_entry(held);
        self.count(&shared, before, Some(held));
        self.unsettled.push((shared.clone(), before));
        (shared, version_before)
    }
}

/// The parts of a replayed record that the fold needs.
#[derive(Clone, Debug)]
pub struct RestoredRecord {
    /// Its seq.
    pub seq: Seq,
    /// Its time.
    pub time: Timestamp,
    /// Its identity.
    pub identity: Identity,
    /// Its version.
    pub version: Version,
    /// Length of its data in bytes.
    pub data_bytes: usize,
}

impl RestoredRecord {
    /// The parts of `record`.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self {
            seq: record.seq(),
            time: record.time(),
            identity: record.identity().clone(),
            version: record.version(),
            data_bytes: record.data().len(),
        }
    }
}

fn check_version(index: usize, event: &NewEvent, current: Version) -> Result<(), Rejection> {
    match event.expected_version {
        Some(expected) if expected != current => {
            Err(Rejection::VersionMismatch { index, expected, current })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;

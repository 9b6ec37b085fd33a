//! The expected behaviour: the durable records, what else may be in the log, and the answers of the
//! fold, implemented a second time, as simply as possible.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use crate::audit::{Digest, chain};
use crate::decide::{Proposal, Rejection, Verdict};
use crate::order::ProposeError;
use crate::record::{Identity, NewEvent, Record, Seq, Version};
use crate::subscription::epochs::open_name;

/// The expected log. A clone is the expectation for a backup.
#[derive(Clone, Default)]
pub struct Oracle {
    /// Durable records, by seq.
    pub log: Vec<Arc<Record>>,
    /// The chain after each of them.
    chain: Vec<Digest>,
    /// Passed to the journal with an unknown outcome.
    pub in_flight: Vec<Arc<Record>>,
    /// True if a failed start may have left its open record.
    pub start_failed: bool,
    /// Index in the log of the first record of the last group.
    pub last_group: usize,
    /// Covers the records whose answers were checked.
    fold: Fold,
}

#[derive(Clone, Default)]
struct Fold {
    records: usize,
    versions: BTreeMap<Identity, Version>,
    ids: BTreeMap<Uuid, usize>,
}

/// The outcome of the group that a proposal was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Durable,
    /// The log failed in it, or before it.
    Failed,
    /// There was no space for it.
    NoSpace,
}

impl Oracle {
    /// Records a durable group.
    pub fn durable(&mut self, group: &[Arc<Record>]) {
        self.in_flight.clear();
        self.last_group = self.log.len();
        for record in group {
            assert_eq!(record.seq(), self.log.len() as Seq + 1, "seqs have no gaps");
            let time = self.log.last().map(|last| last.time());
            assert!(time <= Some(record.time()), "times never fall");
            let before = self.chain.last().unwrap_or(&[0; 32]);
            self.chain.push(chain(before, &record.leaf().0.encode()));
            self.log.push(record.clone());
        }
    }

    /// Folds all durable records: each was answered or found.
    fn fold_all(&mut self) {
        self.fold.take(&self.log[self.fold.records..]);
    }

    /// Compares with the records that an open recovered, and adopts those that turned out to be
    /// durable.
    pub fn recovered(&mut self, found: &[Record]) {
        assert!(found.len() >= self.log.len(), "{} of {}", found.len(), self.log.len());
        for (record, found) in self.log.iter().zip(found) {
            assert_same(record, found);
        }
        let mut rest = &found[self.log.len()..];
        let in_flight = std::mem::take(&mut self.in_flight);
        if let (Some(first), Some(next)) = (in_flight.first(), rest.first())
            && first.id() == next.id()
        {
            assert!(rest.len() >= in_flight.len(), "a group is recovered as a whole or not at all");
            for (record, found) in in_flight.iter().zip(rest) {
                assert_same(record, found);
            }
            self.durable(&in_flight);
            rest = &rest[in_flight.len()..];
        }
        assert!(!rest.is_empty(), "an open appends a record");
        assert!(rest.len() == 1 || self.start_failed, "the log has a record that nobody appended");
        for record in rest {
            assert_eq!(record.event(), &open_name(), "the log has a record that nobody appended");
            self.durable(&[Arc::new(record.clone())]);
        }
        self.start_failed = false;
        self.fold_all();
    }

    /// Compares with the whole log as a reader sees it.
    pub fn check_log(&self, found: &[Record]) {
        assert_eq!(found.len(), self.log.len());
        self.log.iter().zip(found).for_each(|(record, found)| assert_same(record, found));
    }

    /// The chain after a seq.
    pub fn chain_after(&self, seq: Seq) -> Digest {
        self.chain[usize::try_from(seq).expect("logs are short") - 1]
    }

    /// The latest record of each identity that readers may see.
    pub fn latest(&self) -> BTreeMap<Identity, Arc<Record>> {
        let records = self.log.iter().filter(|record| !record.event().is_system());
        records.map(|record| (record.identity().clone(), record.clone())).collect()
    }

    /// The record with an id.
    pub fn find(&self, id: &Uuid) -> Option<&Arc<Record>> {
        self.fold.ids.get(id).map(|index| &self.log[*index])
    }

    /// Checks an answer, after those to all earlier proposals.
    pub fn check_answer(
        &mut self,
        proposal: &Proposal,
        answer: &Result<Verdict, ProposeError>,
        fate: Fate,
    ) {
        let expected = self.expected(proposal);
        match (answer, fate) {
            (Ok(Verdict::Append(records)), Fate::Durable) => {
                assert_eq!(expected, ExpectedVerdict::Append, "{proposal:?}");
                assert_eq!(records.len(), proposal.events.len());
                for (record, proposed) in records.iter().zip(&proposal.events) {
                    assert_made_of(record, &proposed.event);
                    assert_same(&self.log[index_of(record)], record);
                }
                self.fold.take(records);
            }
            (Ok(Verdict::Append(_)), _) => panic!("acknowledged, but not durable"),
            (Ok(Verdict::Known(records)), _) => {
                let ids = records.iter().map(|record| record.id()).collect();
                assert_eq!(expected, ExpectedVerdict::Known(ids));
                for record in records {
                    assert_same(
                        self.log.get(index_of(record)).expect("known records are durable"),
                        record,
                    );
                }
            }
            (Err(ProposeError::Rejected(rejection)), Fate::Durable) => {
                assert_eq!(expected, ExpectedVerdict::Rejected(rejection.clone()));
            }
            (Err(ProposeError::Unknown | ProposeError::StorageFailed), Fate::Failed)
            | (Err(ProposeError::NoSpace), Fate::NoSpace)
            | (Err(ProposeError::ProjectionLag { .. }), _) => {}
            (Err(ProposeError::IdsNotReady), _) => {
                let ids = proposal.events.iter().filter_map(|proposed| proposed.event.id);
                assert!(ids.count() > 0, "no id had to be looked up");
            }
            (answer, fate) => panic!("{answer:?} of a group that is {fate:?}"),
        }
    }

    /// Checks, after the answers to a group, that every durable record was acknowledged.
    pub fn check_all_answered(&self) {
        assert_eq!(self.fold.records, self.log.len(), "every appended record was answered");
    }

    fn expected(&self, proposal: &Proposal) -> ExpectedVerdict {
        let len = proposal.events.len();
        let (mut inside, mut seen) = (BTreeSet::new(), Vec::new());
        for (index, proposed) in proposal.events.iter().enumerate() {
            let Some(id) = proposed.event.id else { continue };
            if len > 1 && !inside.insert(id) {
                return ExpectedVerdict::Rejected(Rejection::IdTwice { index, id });
            }
            let Some(record) = self.find(&id) else { continue };
            let event = &proposed.event;
            let is_same = (record.identity(), record.data(), record.author())
                == (&event.identity, event.data.as_bytes(), event.author.as_ref());
            if !is_same {
                return ExpectedVerdict::Rejected(Rejection::IdTaken { index, id });
            }
            seen.push(id);
        }
        if seen.len() == len {
            return ExpectedVerdict::Known(seen);
        }
        if !seen.is_empty() {
            return ExpectedVerdict::Rejected(Rejection::PartlySeen { seen: seen.len(), len });
        }
        let mut versions = self.fold.versions.clone();
        for (index, proposed) in proposal.events.iter().enumerate() {
            let current = versions.entry(proposed.event.identity.clone()).or_default();
            match proposed.event.expected_version {
                Some(expected) if expected != *current => {
                    let current = *current;
                    let mismatch = Rejection::VersionMismatch { index, expected, current };
                    return ExpectedVerdict::Rejected(mismatch);
                }
                _ => *current += 1,
            }
        }
        ExpectedVerdict::Append
    }
}

impl Fold {
    fn take(&mut self, records: &[Arc<Record>]) {
        for record in records {
            let version = self.versions.entry(record.identity().clone()).or_default();
            *version += 1;
            assert_eq!(record.version(), *version, "versions are 1..n");
            let twice = self.ids.insert(record.id(), self.records);
            assert_eq!(twice, None, "ids are unique in the log");
            self.records += 1;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum ExpectedVerdict {
    Append,
    Known(Vec<Uuid>),
    Rejected(Rejection),
}

fn index_of(record: &Record) -> usize {
    usize::try_from(record.seq()).expect("logs are short") - 1
}

/// Equal records have equal hashes, because salts and bytes are compared too.
fn assert_same(expected: &Record, found: &Record) {
    assert_eq!(expected, found, "a record has changed");
}

fn assert_made_of(record: &Record, event: &NewEvent) {
    assert_eq!(record.identity(), &event.identity);
    assert_eq!(record.data(), event.data.as_bytes());
    assert_eq!(record.author(), event.author.as_ref());
    assert!(event.id.is_none_or(|id| id == record.id()));
}

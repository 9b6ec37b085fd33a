//! The fold against a model of simple maps.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use uuid::Uuid;

use crate::audit::Salts;
use crate::decide::*;
use crate::record::{Name, User, is_self_locating};

#[derive(Default)]
struct ModelIds(HashMap<Uuid, Arc<Record>>);

impl SeenIds for ModelIds {
    fn find(&self, id: &Uuid) -> Option<Arc<Record>> {
        self.0.get(id).cloned()
    }
}

fn event(name: &str, data: u64) -> NewEvent {
    NewEvent::new(name, &data).unwrap()
}

fn proposal(events: Vec<NewEvent>) -> Proposal {
    let salts = Salts { meta: [1; 16], data: [2; 16] };
    let proposed = events.into_iter().map(|event| Proposed { event, salts, id_random: [3; 5] });
    Proposal { events: proposed.collect() }
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn append(state: &mut FoldState, events: Vec<NewEvent>) -> Vec<Arc<Record>> {
    match state.decide(proposal(events), &ModelIds::default(), at(1)) {
        Ok(Verdict::Append(records)) => records,
        other => panic!("{other:?}"),
    }
}

fn refuse(state: &mut FoldState, events: Vec<NewEvent>, limits: Limits) -> Rejection {
    state.limits = limits;
    let refused = state.decide(proposal(events), &ModelIds::default(), at(1));
    state.limits = Limits::NONE;
    refused.unwrap_err()
}

#[test]
fn time_never_goes_back_and_is_in_server_ids() {
    let mut state = FoldState::default();
    let ids = ModelIds::default();
    let times = [5, 3, 9].map(|now| {
        let verdict = state.decide(proposal(vec![event("a", 1)]), &ids, at(now));
        let Ok(Verdict::Append(records)) = verdict else { panic!("{verdict:?}") };
        let (seconds, nanos) = records[0].id().get_timestamp().unwrap().to_unix();
        let millis = seconds * 1_000 + u64::from(nanos) / 1_000_000;
        assert_eq!(millis, records[0].time().millis());
        assert!(is_self_locating(&records[0].id(), records[0].seq(), records[0].time()));
        millis
    });
    assert_eq!(times, [5, 5, 9]);
}

#[test]
fn expected_version_counts_earlier_events_of_the_batch() {
    let mut state = FoldState::default();
    let first = event("a", 1).with_expected_version(0);
    let second = event("a", 2).with_expected_version(1);
    let records = append(&mut state, vec![first, second.clone()]);
    assert_eq!(records.iter().map(|r| r.version()).collect::<Vec<_>>(), [1, 2]);
    let refused = refuse(&mut state, vec![event("b", 1), second], Limits::NONE);
    assert_eq!(refused, Rejection::VersionMismatch { index: 1, expected: 1, current: 2 });
    assert_eq!(state.last_seq(), 2);
}

#[test]
fn each_audience_has_its_own_versions() {
    let mut state = FoldState::default();
    append(&mut state, vec![event("a", 1), event("a", 2)]);
    let private = append(&mut state, vec![event("a", 3).to("ann").unwrap()]);
    assert_eq!(private[0].version(), 1);
    assert_eq!(private[0].to(), Some(&User::parse("ann").unwrap()));
    assert_eq!(append(&mut state, vec![event("a", 4)])[0].version(), 3);
}

#[test]
fn reached_limits_refuse_new_events_and_accept_existing_ones() {
    let mut state = FoldState::default();
    append(&mut state, vec![event("a", 1), event("b", 1)]);
    let two = Limits { events_max: 2, ..Limits::NONE };
    let refused = refuse(&mut state, vec![event("a", 2), event("c", 1)], two);
    assert_eq!(refused, Rejection::TooManyEvents { limit: 2 });
    let bytes = Limits { latest_bytes_max: 2, ..Limits::NONE };
    let refused = refuse(&mut state, vec![event("c", 1)], bytes);
    assert_eq!(refused, Rejection::TooManyBytes { limit: 2 });
    state.limits = bytes;
    let verdict = state.decide(proposal(vec![event("a", 222)]), &ModelIds::default(), at(1));
    assert!(matches!(verdict, Ok(Verdict::Append(_))), "{verdict:?}");
    assert_eq!(state.latest_bytes(), 4);
}

#[test]
fn consumers_have_their_own_limit_and_undo_frees_it() {
    let position = |name: &str| {
        let identity = Identity { event: Name::stored(name).unwrap(), to: None };
        NewEvent { identity, ..event("a", 1) }
    };
    let one = Limits { consumers_max: 1, ..Limits::NONE };
    let mut state = FoldState::default();
    append(&mut state, vec![position("broker:consumer.c.t")]);
    state.undo();
    append(&mut state, vec![position("broker:consumer.c.t"), position("broker:bridge.b")]);
    state.settle();
    let refused = refuse(&mut state, vec![position("broker:consumer.d.t")], one);
    assert_eq!(refused, Rejection::TooManyConsumers { limit: 1 });
    state.limits = one;
    for name in ["broker:consumer.c.t", "broker:bridge.c"] {
        let goes_on = proposal(vec![position(name)]);
        let verdict = state.decide(goes_on, &ModelIds::default(), at(1));
        assert!(matches!(verdict, Ok(Verdict::Append(_))), "{verdict:?}");
    }
}

#[test]
fn ids_are_checked_first() {
    let mut state = FoldState::default();
    let id = Uuid::from_u128(1);
    let original = append(&mut state, vec![event("a", 1).with_id(id)]);
    let ids = ModelIds(HashMap::from([(id, original[0].clone())]));
    let mut decide = |events| state.decide(proposal(events), &ids, at(2));
    let retry = event("a", 1).with_id(id).with_expected_version(77);
    let Ok(Verdict::Known(known)) = decide(vec![retry.clone()]) else { panic!("a retry") };
    assert_eq!(known, original);
    let mut by_another = retry.clone();
    by_another.author = Some(User::parse("eve").unwrap());
    for other in [
        event("a", 2).with_id(id),
        event("b", 1).with_id(id),
        event("a", 1).with_id(id).to("ann").unwrap(),
        by_another,
    ] {
        assert_eq!(decide(vec![other]).unwrap_err(), Rejection::IdTaken { index: 0, id });
    }
    let partly = decide(vec![retry.clone(), event("b", 1)]).unwrap_err();
    assert_eq!(partly, Rejection::PartlySeen { seen: 1, len: 2 });
    let new = Uuid::from_u128(2);
    let twice = decide(vec![event("a", 1).with_id(new), event("a", 1).with_id(new)]).unwrap_err();
    assert_eq!(twice, Rejection::IdTwice { index: 1, id: new });
    assert_eq!(decide(Vec::new()).unwrap_err(), Rejection::EmptyBatch);
}

/// (name, data, expected version)
type Events = Vec<(u8, u64, Option<u64>)>;

fn histories() -> impl Strategy<Value = Vec<(Events, bool)>> {
    let event = (0u8..4, 0u64..1_000, prop::option::weighted(0.4, 0u64..5));
    let batch = prop::collection::vec(event, 1..4);
    prop::collection::vec((batch, prop::bool::weighted(0.2)), 1..60)
}

proptest! {
    /// Some batches are undone, as after a full disk.
    #[test]
    fn versions_and_seqs_match_a_simple_map(history in histories()) {
        let mut state = FoldState::default();
        let mut versions: BTreeMap<u8, u64> = BTreeMap::new();
        let mut latest: BTreeMap<u8, usize> = BTreeMap::new();
        let mut last_seq = 0;
        for (events, undone) in history {
            let mut after = versions.clone();
            let fits = events.iter().all(|(name, _, expected)| {
                let version = after.entry(*name).or_default();
                let fits = expected.is_none_or(|expected| expected == *version);
                *version += 1;
                fits
            });
            let proposed = events.iter().map(|(name, data, expected)| {
                let mut event = event(["a", "b", "c", "d"][usize::from(*name)], *data);
                event.expected_version = *expected;
                event
            });
            let proposed = proposal(proposed.collect());
            match state.decide(proposed, &ModelIds::default(), at(1)) {
                Ok(Verdict::Append(_)) if undone => {
                    prop_assert!(fits);
                    state.undo();
                }
                Ok(Verdict::Append(records)) => {
                    prop_assert!(fits);
                    state.settle();
                    versions = after;
                    for (record, (name, data, _)) in records.iter().zip(&events) {
                        last_seq += 1;
                        prop_assert_eq!(record.seq(), last_seq);
                        latest.insert(*name, data.to_string().len());
                    }
                }
                other => prop_assert!(!fits, "{:?}", other),
            }
            prop_assert_eq!(state.last_seq(), last_seq);
            prop_assert_eq!(state.latest_bytes(), latest.values().sum::<usize>());
            for (name, version) in &versions {
                let name = ["a", "b", "c", "d"][usize::from(*name)];
                let identity = event(name, 0).identity;
                prop_assert_eq!(state.version(&identity), *version);
            }
        }
    }
}

/// One process of many that fold the same order. Its hash maps have seeds of their own.
struct FoldingProcess {
    state: FoldState,
    ids: ModelIds,
    stored: Vec<u8>,
}

impl FoldingProcess {
    fn new(limits: Limits) -> Self {
        Self { state: FoldState::new(limits), ids: ModelIds::default(), stored: Vec::new() }
    }

    /// Decides, and as a process whose disk is full for a while, takes back and decides again.
    fn decide(&mut self, proposal: &Proposal, now: Timestamp, takes_back: bool) -> String {
        if takes_back {
            // Earlier proposals of the group are stored already.
            self.state.settle();
            let _ = self.state.decide(proposal.clone(), &self.ids, now);
            self.state.undo();
        }
        let verdict = self.state.decide(proposal.clone(), &self.ids, now);
        if let Ok(Verdict::Append(records)) = &verdict {
            for record in records {
                self.stored.extend(record.encode_stored());
                self.stored.extend(record.json());
                self.ids.0.insert(record.id(), record.clone());
            }
        }
        format!("{verdict:?}")
    }
}

proptest! {
    /// Processes differ in how they group proposals, in the seeds of their hash maps, and in the
    /// groups that they had to take back.
    #[test]
    fn two_processes_make_the_same_bytes_of_the_same_proposals_and_times(
        history in prop::collection::vec(
            (histories(), 0u64..50, prop::option::of(0u8..6), any::<[bool; 3]>()), 1..4
        ),
    ) {
        let limits = Limits { events_max: 3, latest_bytes_max: 12, consumers_max: 1 };
        let mut processes = [FoldingProcess::new(limits), FoldingProcess::new(limits)];
        for (batches, now, id, [settles, takes_back, also_settles]) in history {
            for (index, (events, random)) in batches.into_iter().enumerate() {
                let events = events.iter().map(|(name, data, expected)| {
                    let mut event = event(["a", "b", "c", "d"][usize::from(*name)], *data);
                    event.expected_version = *expected;
                    event.id = id.filter(|_| random).map(|id| Uuid::from_u128(u128::from(id)));
                    event
                });
                let proposal = proposal(events.collect());
                let now = at(now + index as u64 % 7);
                let [one, other] = &mut processes;
                prop_assert_eq!(
                    one.decide(&proposal, now, false),
                    other.decide(&proposal, now, takes_back)
                );
                if settles {
                    one.state.settle();
                }
                if also_settles {
                    other.state.settle();
                }
            }
        }
        let [one, other] = processes;
        prop_assert_eq!(one.stored, other.stored);
    }
}

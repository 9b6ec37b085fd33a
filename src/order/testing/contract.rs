//! The contract of [`Order`] as one suite, which runs against the local order on a real journal and
//! against a model in memory. Faults come in pairs: a group fails and was not stored, or fails but
//! was stored.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;

use crate::audit::Salts;
use crate::decide::{Proposal, Proposed, Rejection, Verdict};
use crate::order::Order;
use crate::order::submission::{Outcome, ProposeError, Submission, Ticket};
use crate::order::testing::local_world::LocalWorld;
use crate::order::testing::model::ModelWorld;
use crate::record::{NewEvent, Record, server_id};

/// How the next group fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupFault {
    /// The write fails, and nothing of it survives.
    FailsNotStored,
    /// The write fails, but all of it survives.
    FailsStored,
    /// The disk is full, which is noticed before anything is written.
    NoSpace,
}

/// An order with storage that survives it.
pub trait OrderWorld {
    /// Opens the storage as it is now.
    fn open() -> Self;
    fn order(&self) -> &dyn Order;
    fn fail_next(&self, fault: GroupFault);
    /// Everything that observers received since the storage was created, in order.
    fn observed(&self) -> Vec<Arc<Record>>;
    /// Ends the process and starts another one on the same storage.
    fn restart(self) -> Self;
    /// The content of the storage, read back.
    fn stored(&mut self) -> Vec<Record>;
}

fn event(name: &str, data: u64) -> NewEvent {
    NewEvent::new(name, &data).unwrap()
}

fn submission(events: Vec<NewEvent>) -> Submission {
    let proposed = events.into_iter().map(|event| {
        let salts = Salts { meta: [1; 16], data: [2; 16] };
        let id_random = *Uuid::new_v4().as_bytes().first_chunk().unwrap();
        Proposed { event, salts, id_random }
    });
    Submission::new(Proposal { events: proposed.collect() })
}

fn propose<W: OrderWorld>(world: &W, events: Vec<NewEvent>) -> Result<Verdict, ProposeError> {
    world.order().propose(submission(events)).and_then(Ticket::wait)
}

fn appended(verdict: Result<Verdict, ProposeError>) -> Vec<Arc<Record>> {
    match verdict {
        Ok(Verdict::Append(records)) => records,
        other => panic!("not appended: {other:?}"),
    }
}

fn known(verdict: Result<Verdict, ProposeError>) -> Vec<Arc<Record>> {
    match verdict {
        Ok(Verdict::Known(records)) => records,
        other => panic!("not known: {other:?}"),
    }
}

fn acknowledged_records_were_stored_and_observed<W: OrderWorld>() {
    let mut world = W::open();
    let first = appended(propose(&world, vec![event("a", 1)]));
    assert_eq!(world.observed(), first);
    let batch = appended(propose(&world, vec![event("a", 2), event("b", 3)]));
    let observed: Vec<_> = first.iter().chain(&batch).cloned().collect();
    assert_eq!(world.observed(), observed);
    let stored = world.stored();
    assert_eq!(stored, observed.iter().map(|record| (**record).clone()).collect::<Vec<_>>());
    assert_eq!(stored.iter().map(Record::seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(stored.iter().map(Record::version).collect::<Vec<_>>(), [1, 2, 1]);
}

fn a_rejected_batch_stores_nothing<W: OrderWorld>() {
    let mut world = W::open();
    let refused =
        propose(&world, vec![event("a", 1), event("b", 1).with_expected_version(7)]).unwrap_err();
    assert_eq!(refused.outcome(), Outcome::NotStored);
    let ProposeError::Rejected(Rejection::VersionMismatch { index: 1, current: 0, .. }) = refused
    else {
        panic!("{refused:?}");
    };
    assert!(world.observed().is_empty());
    assert_eq!(appended(propose(&world, vec![event("a", 2)]))[0].version(), 1);
    assert_eq!(world.stored().len(), 1);
}

fn an_id_is_remembered_within_a_group_and_across_restarts<W: OrderWorld>() {
    let world = W::open();
    let id = Uuid::from_u128(7);
    let insert = || submission(vec![event("a", 1).with_id(id)]);
    // Proposed together, so they may be in one group.
    let first = world.order().propose(insert()).unwrap();
    let second = world.order().propose(insert()).unwrap();
    let first = appended(first.wait());
    assert_eq!(known(second.wait()), first);
    let mut world = world.restart();
    assert_eq!(known(propose(&world, vec![event("a", 1).with_id(id)])), first);
    let taken = propose(&world, vec![event("a", 2).with_id(id)]).unwrap_err();
    assert!(matches!(taken, ProposeError::Rejected(Rejection::IdTaken { .. })), "{taken:?}");
    assert_eq!(world.stored().len(), 1);
}

/// A client that lost the answer may have read the id in the history or in a stream.
fn ids_made_by_the_server_are_remembered_across_restarts<W: OrderWorld>() {
    let world = W::open();
    let first = appended(propose(&world, vec![event("a", 1), event("b", 2)]));
    let retry = |index: usize, data| {
        let name = first[index].event().as_str();
        vec![event(name, data).with_id(first[index].id())]
    };
    assert_eq!(known(propose(&world, retry(0, 1))), first[..1]);
    let mut world = world.restart();
    assert_eq!(known(propose(&world, retry(1, 2))), first[1..]);
    let both = [retry(0, 1), retry(1, 2)].concat();
    assert_eq!(known(propose(&world, both)), first);
    let taken = propose(&world, retry(0, 7)).unwrap_err();
    assert!(matches!(taken, ProposeError::Rejected(Rejection::IdTaken { .. })), "{taken:?}");
    assert_eq!(world.stored().len(), 2);
}

/// A client may choose an id of the form that the server makes: naming an earlier seq, its own, or a
/// later one.
fn a_client_may_choose_an_id_of_the_servers_form<W: OrderWorld>() {
    let mut world = W::open();
    let time = appended(propose(&world, vec![event("a", 0)]))[0].time();
    let ids = [1, 3, 4, 90].map(|seq| server_id(seq, time, [seq as u8; 5]));
    let insert = |n: usize| event("a", n as u64 + 1).with_id(ids[n]);
    let mut originals = Vec::new();
    for n in 0..ids.len() {
        // Perhaps in one group with its retry.
        let tickets = [0, 1].map(|_| world.order().propose(submission(vec![insert(n)])).unwrap());
        let [first, again] = tickets.map(Ticket::wait);
        originals.extend(appended(first));
        assert_eq!(known(again), originals[n..]);
    }
    for _ in 0..2 {
        let all = (0..ids.len()).map(insert).collect();
        assert_eq!(known(propose(&world, all)), originals);
        world = world.restart();
    }
    // More records, so that the last id names the seq of another one.
    for n in 0..100 {
        appended(propose(&world, vec![event("b", n)]));
    }
    for n in 0..ids.len() {
        assert_eq!(known(propose(&world, vec![insert(n)])), originals[n..=n]);
        let taken = propose(&world, vec![event("b", 0).with_id(ids[n])]).unwrap_err();
        assert!(matches!(taken, ProposeError::Rejected(Rejection::IdTaken { .. })), "{taken:?}");
    }
    assert_eq!(world.stored().len(), 105);
}

fn the_outcome_of_a_failed_group_is_unknown_and_a_retry_is_safe<W: OrderWorld>() {
    for fault in [GroupFault::FailsNotStored, GroupFault::FailsStored] {
        let world = W::open();
        let before = appended(propose(&world, vec![event("a", 1)]));
        world.fail_next(fault);
        let id = Uuid::from_u128(9);
        let insert = || vec![event("a", 2).with_id(id)];
        let failed = propose(&world, insert()).unwrap_err();
        assert_eq!(failed.outcome(), Outcome::Unknown, "{fault:?}");
        assert_eq!(world.observed(), before, "{fault:?}: observers receive only durable records");
        // After a failed sync nothing is acknowledged any more.
        let after = propose(&world, vec![event("b", 1)]).unwrap_err();
        assert_eq!(after.outcome(), Outcome::NotStored, "{fault:?}");

        let mut world = world.restart();
        let retried = match fault {
            GroupFault::FailsStored => known(propose(&world, insert())),
            _ => appended(propose(&world, insert())),
        };
        assert_eq!(retried[0].version(), 2, "{fault:?}");
        let stored = world.stored();
        let of_id = stored.iter().filter(|record| record.id() == id).count();
        assert_eq!((of_id, stored.len()), (1, 2), "{fault:?}");
    }
}

fn a_full_disk_refuses_until_there_is_room<W: OrderWorld>() {
    let mut world = W::open();
    appended(propose(&world, vec![event("a", 1)]));
    world.fail_next(GroupFault::NoSpace);
    let id = Uuid::from_u128(3);
    let insert = || vec![event("a", 2).with_id(id), event("new", 1)];
    let refused = propose(&world, insert()).unwrap_err();
    assert_eq!(refused.outcome(), Outcome::NotStored);
    assert_eq!(world.observed().len(), 1);
    let records = appended(propose(&world, insert()));
    assert_eq!((records[0].seq(), records[0].version()), (2, 2));
    assert_eq!((records[1].seq(), records[1].version()), (3, 1));
    assert_eq!(world.stored().len(), 3);
}

/// A step of a random history.
#[derive(Clone, Debug)]
enum OrderAction {
    /// Events as (name, id, expected version or any).
    Propose(Vec<(u8, Option<u8>, Option<u64>)>),
    Fail(u8),
    Restart,
}

fn actions() -> impl Strategy<Value = Vec<OrderAction>> {
    let event = (0u8..4, prop::option::of(0u8..12), prop::option::weighted(0.3, 0u64..4));
    let action = prop_oneof![
        12 => prop::collection::vec(event, 1..4).prop_map(OrderAction::Propose),
        1 => (0u8..3).prop_map(OrderAction::Fail),
        1 => Just(OrderAction::Restart),
    ];
    prop::collection::vec(action, 1..40)
}

/// After any history, the log holds every acknowledged record once and unchanged, and no rejected
/// one; versions and seqs have no gaps; observers received records in order.
fn random_histories_keep_the_contract<W: OrderWorld>(actions: Vec<OrderAction>) {
    let mut world = W::open();
    let mut acknowledged: HashMap<u64, Record> = HashMap::new();
    for action in actions {
        match action {
            OrderAction::Propose(events) => {
                let events = events.into_iter().map(|(name, id, expected)| {
                    // The id decides the rest, so that a repeated id is a retry.
                    let (name, data) = id.map_or((name, 0), |id| (id % 4, u64::from(id)));
                    let mut event = event(["a", "b", "c", "d"][usize::from(name)], data);
                    event.id = id.map(|id| Uuid::from_u128(u128::from(id)));
                    event.expected_version = expected;
                    event
                });
                if let Ok(Verdict::Append(records) | Verdict::Known(records)) =
                    propose(&world, events.collect())
                {
                    for record in records {
                        let before = acknowledged.insert(record.seq(), (*record).clone());
                        assert!(before.is_none_or(|before| before == *record));
                    }
                }
            }
            OrderAction::Fail(0) => world.fail_next(GroupFault::FailsNotStored),
            OrderAction::Fail(1) => world.fail_next(GroupFault::FailsStored),
            OrderAction::Fail(_) => world.fail_next(GroupFault::NoSpace),
            OrderAction::Restart => world = world.restart(),
        }
    }
    let observed: Vec<_> = world.observed();
    let stored = world.stored();
    let mut versions: HashMap<String, u64> = HashMap::new();
    let mut ids = HashSet::new();
    for (index, record) in stored.iter().enumerate() {
        assert_eq!(record.seq(), index as u64 + 1);
        let version = versions.entry(record.event().to_string()).or_default();
        *version += 1;
        assert_eq!(record.version(), *version);
        assert!(ids.insert(record.id()), "an id stands once");
        assert!(index == 0 || stored[index - 1].time() <= record.time());
    }
    for (seq, record) in &acknowledged {
        assert_eq!(stored.get(usize::try_from(*seq).unwrap() - 1), Some(record));
    }
    assert!(
        observed.windows(2).all(|pair| pair[0].seq() < pair[1].seq()),
        "observed in order, once"
    );
    for record in &observed {
        assert_eq!(stored.get(usize::try_from(record.seq()).unwrap() - 1), Some(&**record));
    }
}

macro_rules! suite {
    ($module:ident, $world:ty) => {
        mod $module {
            use super::*;

            suite!(@cases $world:
                acknowledged_records_were_stored_and_observed,
                a_rejected_batch_stores_nothing,
                an_id_is_remembered_within_a_group_and_across_restarts,
                ids_made_by_the_server_are_remembered_across_restarts,
                a_client_may_choose_an_id_of_the_servers_form,
                the_outcome_of_a_failed_group_is_unknown_and_a_retry_is_safe,
                a_full_disk_refuses_until_there_is_room,
            );

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(48))]
                #[test]
                fn random_histories_keep_the_contract(actions in actions()) {
                    super::random_histories_keep_the_contract::<$world>(actions);
                }
            }
        }
    };
    (@cases $world:ty: $($case:ident,)*) => {
        $(
            #[test]
            fn $case() {
                super::$case::<$world>();
            }
        )*
    };
}

suite!(local, LocalWorld<false>);
suite!(local_inline, LocalWorld<true>);
suite!(model, ModelWorld);

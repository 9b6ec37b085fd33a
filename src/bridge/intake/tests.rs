//! The intake against a log that fails on demand.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::audit::Salts;
use crate::bridge::intake::*;
use crate::decide::{FoldState, Proposal, Proposed, SeenIds};
use crate::record::{Data, Name, Record, Seq, Timestamp};
use crate::subscription::{Selector, Subscriber};

/// A log in memory that uses the real fold; each call first takes the next of `failures`.
#[derive(Default)]
struct Model {
    log: RefCell<FailingLog>,
    failures: RefCell<VecDeque<ProposeError>>,
    /// The number of events of each insert.
    inserts: RefCell<Vec<usize>>,
}

#[derive(Default)]
struct FailingLog {
    state: FoldState,
    records: Vec<Arc<Record>>,
}

impl SeenIds for HashMap<Uuid, Arc<Record>> {
    fn find(&self, id: &Uuid) -> Option<Arc<Record>> {
        self.get(id).cloned()
    }
}

impl Host for Model {
    fn log_id(&self) -> Uuid {
        Uuid::nil()
    }

    fn head(&self) -> Seq {
        self.log.borrow().state.last_seq()
    }

    fn follow(&self, _: Selector, _: Seq) -> Option<Subscriber> {
        None
    }

    fn position(&self, _: &Name) -> Option<Arc<Record>> {
        None
    }

    async fn store_position(&self, _: &Name, _: Data) -> Result<(), ProposeError> {
        Ok(())
    }

    async fn insert(&self, events: Vec<NewEvent>) -> Result<Verdict, ProposeError> {
        self.inserts.borrow_mut().push(events.len());
        if let Some(error) = self.failures.borrow_mut().pop_front() {
            return Err(error);
        }
        let salts = Salts { meta: [0; 16], data: [0; 16] };
        let propose = |event| Proposed { event, salts, id_random: [0; 5] };
        let proposal = Proposal { events: events.into_iter().map(propose).collect() };
        let FailingLog { state, records } = &mut *self.log.borrow_mut();
        let seen: HashMap<_, _> =
            records.iter().map(|record| (record.id(), record.clone())).collect();
        let verdict = state.decide(proposal, &seen, Timestamp::from_millis(1))?;
        if let Verdict::Append(appended) = &verdict {
            records.extend(appended.iter().cloned());
        }
        Ok(verdict)
    }

    async fn find(&self, id: Uuid) -> Result<Option<Arc<Record>>, ProposeError> {
        if let Some(error) = self.failures.borrow_mut().pop_front() {
            return Err(error);
        }
        let log = self.log.borrow();
        Ok(log.records.iter().find(|record| record.id() == id).cloned())
    }
}

impl Model {
    fn failing(failures: impl IntoIterator<Item = ProposeError>) -> Self {
        let model = Self::default();
        model.failures.borrow_mut().extend(failures);
        model
    }

    /// The data of every record, in order.
    fn data(&self) -> Vec<String> {
        let log = self.log.borrow();
        let text = |record: &Arc<Record>| String::from_utf8_lossy(record.data()).into_owned();
        log.records.iter().map(text).collect()
    }
}

/// An event with the id and value of a number.
fn event(n: u32) -> NewEvent {
    valued(n, n)
}

fn valued(id: u32, value: u32) -> NewEvent {
    let event = NewEvent::new("a", &value).unwrap();
    event.with_id(Uuid::from_u128(u128::from(id)))
}

#[tokio::test]
async fn waiting_messages_are_one_insert_in_order() {
    let model = Model::default();
    let outcomes = insert_all(&model, (1..=5).map(event).collect()).await.unwrap();
    assert_eq!(outcomes, vec![Intake::Inserted; 5]);
    assert_eq!(*model.inserts.borrow(), [5]);
    assert_eq!(model.data(), ["1", "2", "3", "4", "5"]);
    assert_eq!(insert_all(&model, Vec::new()).await.unwrap(), []);
}

#[tokio::test]
async fn redelivered_messages_are_known_and_not_inserted_again() {
    let model = Model::default();
    insert_all(&model, (1..=3).map(event).collect()).await.unwrap();
    let again = insert_all(&model, (1..=3).map(event).collect()).await.unwrap();
    assert_eq!(again, vec![Intake::Known; 3]);
    let some = insert_all(&model, (2..=5).map(event).collect()).await.unwrap();
    let (known, new) = (Intake::Known, Intake::Inserted);
    assert_eq!(some, [known.clone(), known.clone(), new.clone(), new.clone()]);
    // The same message twice in one batch.
    let twice = insert_all(&model, vec![event(6), event(6)]).await.unwrap();
    assert_eq!(twice, [new, known]);
    assert_eq!(model.data(), ["1", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn reused_id_is_refused_and_the_other_messages_are_inserted() {
    let model = Model::default();
    insert_all(&model, vec![event(1)]).await.unwrap();
    let outcomes = insert_all(&model, vec![event(2), valued(1, 9), event(3)]).await.unwrap();
    let [Intake::Inserted, Intake::Refused(reason), Intake::Inserted] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert!(reason.contains("already used"), "{reason}");
    assert_eq!(model.data(), ["1", "2", "3"]);
}

/// Another program moves our records from one queue to another without their headers.
#[tokio::test]
async fn returning_record_without_headers_is_known_by_its_id() {
    let model = Model::default();
    insert_all(&model, vec![event(1)]).await.unwrap();
    let author = Some(crate::record::User::parse("somebody").unwrap());
    let back = NewEvent { author, ..event(1) };
    assert_eq!(insert_all(&model, vec![back]).await.unwrap(), [Intake::Known]);
    assert_eq!(model.data(), ["1"]);
}

#[tokio::test]
async fn transient_failures_are_retried_in_order() {
    let too_many = ProposeError::Rejected(Rejection::TooManyEvents { limit: 1 });
    let model = Model::failing([ProposeError::QueueFull, too_many]);
    let outcomes = insert_all(&model, (1..=3).map(event).collect()).await.unwrap();
    assert_eq!(outcomes, vec![Intake::Inserted; 3]);
    assert_eq!(*model.inserts.borrow(), [3, 3, 3], "the same batch again, whole");
    assert_eq!(model.data(), ["1", "2", "3"]);
    // Also during the look-up of a taken id.
    let taken = ProposeError::Rejected(Rejection::IdTaken { index: 0, id: Uuid::nil() });
    let model = Model::failing([taken, ProposeError::IdsNotReady]);
    let outcomes = insert_all(&model, vec![event(1)]).await.unwrap();
    assert!(matches!(&outcomes[..], [Intake::Refused(_)]), "{outcomes:?}");
}

#[test]
fn failures_that_an_operator_or_time_can_fix_are_transient() {
    let lag = ProposeError::ProjectionLag { records: 7 };
    let too_many = ProposeError::Rejected(Rejection::TooManyBytes { limit: 1 });
    for error in [ProposeError::IdsNotReady, ProposeError::NoSpace, lag, too_many] {
        assert!(is_transient(&error), "{error}");
    }
}

#[tokio::test]
async fn permanent_failure_leaves_messages_without_an_outcome() {
    for error in [ProposeError::Stopping, ProposeError::StorageFailed, ProposeError::Unknown] {
        let model = Model::failing([error]);
        assert!(insert_all(&model, vec![event(1), event(2)]).await.is_err());
        assert_eq!(model.inserts.borrow().len(), 1, "it is not retried");
    }
}

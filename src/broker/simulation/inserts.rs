//! Clients that insert new events, retry unknown outcomes, and send what must be rejected.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use rand::Rng as _;
use rand::rngs::SmallRng;
use uuid::Uuid;

use crate::audit::Salts;
use crate::broker::simulation::index::SimulatedIndex;
use crate::broker::simulation::oracle::{Fate, Oracle};
use crate::broker::simulation::process::{SimulatedProcess, Truth};
use crate::decide::{Proposal, Proposed, Verdict};
use crate::journal::simulated::SimulatedDisk;
use crate::order::{ProposeError, Submission, Ticket};
use crate::record::{Data, Identity, Name, NewEvent, Record, Seq, Timestamp, User, server_id};

/// The last one is a position, stored by its owner.
const NAMES: [&str; 6] = ["a", "b", "a.b", "a.b.c", "profile.1", "broker:p2"];
const USERS: [Option<&str>; 3] = [None, Some("ann"), Some("bob")];
/// Maximum proposals in one group.
const TOGETHER_MAX: usize = 5;

#[derive(Default)]
pub struct InsertClients {
    /// Proposals with an unknown outcome, whose ids the clients chose.
    unknown: Vec<Proposal>,
    /// Submissions that were looked up but are not queued yet.
    pending: Vec<PendingSubmission>,
}

/// A submission between the id lookup and the queue.
struct PendingSubmission {
    submission: Submission,
    /// Probability of being queued in the next step. Some are so late that the result of the lookup
    /// has expired.
    chance: f64,
}

impl InsertClients {
    /// Drops pending submissions, because the process has ended.
    pub fn drop_pending(&mut self) {
        self.pending.clear();
    }

    /// Forgets everything, as the clients do when the server is rolled back.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Submits a group of proposals, checks every answer, and returns a summary.
    pub fn insert(
        &mut self,
        random: &mut SmallRng,
        process: &mut SimulatedProcess,
        truth: &Truth,
        (index, disk): (&SimulatedIndex, &SimulatedDisk),
    ) -> String {
        let is_index_ready = index.is_ready(truth.lock().unwrap().log.len());
        for _ in 0..random.random_range(1..=TOGETHER_MAX) {
            let mut submission = Submission::new(self.proposal(random, &truth.lock().unwrap()));
            let looked_up = process.engines.look_up(&mut submission);
            assert!(looked_up.is_ok(), "an intact log can be read");
            // A client that did not wait for the answer sends the same again, perhaps much later.
            if random.random_bool(0.1) {
                let proposal = submission.proposal.clone();
                let (known, looked_up) = (submission.known.clone(), submission.looked_up);
                let submission = Submission { proposal, known, looked_up };
                self.pending.push(PendingSubmission { submission, chance: 0.02 });
            }
            let chance = if random.random_bool(0.1) { 0.02 } else { 0.7 };
            self.pending.push(PendingSubmission { submission, chance });
        }
        let queued = self.pending.extract_if(.., |pending| random.random_bool(pending.chance));
        let due: Vec<_> = queued.map(|pending| pending.submission).collect();
        if due.len() == 1 && random.random() {
            let proposal = due[0].proposal.clone();
            let ticket = due.into_iter().next().map(|one| process.order.propose_inline(one));
            process.order.append();
            let ticket = ticket.expect("there is one");
            return self.check_answers(
                vec![(proposal, ticket)],
                process,
                truth,
                (index, is_index_ready, disk),
            );
        }
        let mut submitted = Vec::new();
        for submission in due {
            let proposal = submission.proposal.clone();
            submitted.push((proposal, process.order.propose(submission)));
        }
        process.order.append();
        self.check_answers(submitted, process, truth, (index, is_index_ready, disk))
    }

    fn check_answers(
        &mut self,
        submitted: Vec<(Proposal, Result<Ticket, ProposeError>)>,
        process: &SimulatedProcess,
        truth: &Truth,
        (index, is_index_ready, disk): (&SimulatedIndex, bool, &SimulatedDisk),
    ) -> String {
        let mut truth = truth.lock().unwrap();
        let answers: Vec<_> =
            submitted.into_iter().map(|(proposal, ticket)| (proposal, answer(ticket))).collect();
        let no_space = |answer: &PendingReply| matches!(answer, Err(ProposeError::NoSpace));
        let fate = if process.order.has_failed() {
            Fate::Failed
        } else if answers.iter().any(|(_, answer)| no_space(answer)) {
            Fate::NoSpace
        } else {
            Fate::Durable
        };
        let mut summary = format!("insert {}: {fate:?}", answers.len());
        for (proposal, answer) in answers {
            truth.check_answer(&proposal, &answer, fate);
            summary.push_str(match &answer {
                Ok(Verdict::Append(_)) => " append",
                Ok(Verdict::Known(_)) => " known",
                Err(ProposeError::Rejected(_)) => " rejected",
                Err(ProposeError::IdsNotReady) => " not-ready",
                Err(ProposeError::ProjectionLag { .. }) => " lag",
                Err(_) => " failed",
            });
            if let Err(ProposeError::ProjectionLag { records }) = &answer {
                let since = index.applied_seq().max(process.opened_at);
                let lag = truth.log.len() as Seq - since;
                assert!(*records >= process.lag_max, "a lag of {records} is within the limit");
                assert!(
                    *records <= lag || fate != Fate::Durable,
                    "the lag is {lag}, not {records}"
                );
            }
            let is_needless = matches!(answer, Err(ProposeError::IdsNotReady)) && is_index_ready;
            assert!(!is_needless, "all ids are available");
            let is_outcome_unknown =
                disk.is_dead() || matches!(&answer, Err(ProposeError::Unknown));
            let has_ids = proposal.events.iter().all(|proposed| proposed.event.id.is_some());
            if is_outcome_unknown && has_ids {
                self.unknown.push(proposal);
            }
        }
        if fate == Fate::Durable {
            truth.check_all_answered();
        }
        summary
    }

    fn proposal(&mut self, random: &mut SmallRng, truth: &Oracle) -> Proposal {
        if !self.unknown.is_empty() && random.random_bool(0.5) {
            let at = random.random_range(0..self.unknown.len());
            let proposal = self.unknown[at].clone();
            // A client may retry once more.
            if random.random_bool(0.7) {
                self.unknown.swap_remove(at);
            }
            return proposal;
        }
        let len = if random.random_bool(0.2) { random.random_range(2..5) } else { 1 };
        let mut events: Vec<_> = (0..len).map(|_| event(random, truth)).collect();
        if len > 1 && random.random_bool(0.05) {
            events[1].event.id = events[0].event.id;
        }
        Proposal { events }
    }
}

type PendingReply = Result<Verdict, ProposeError>;

/// The answer is ready once the append has run.
fn answer(ticket: Result<Ticket, ProposeError>) -> PendingReply {
    let ticket = pin!(ticket?);
    match ticket.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the append ended without an answer"),
    }
}

fn event(random: &mut SmallRng, truth: &Oracle) -> Proposed {
    let old = any_client_record(random, &truth.log);
    let event = match random.random_range(0..20) {
        // Repeats an old event after any time.
        0..=2 if old.is_some() => repeated(old.expect("there is one")),
        // Reuses an id, most likely for another event.
        3 if old.is_some() => {
            NewEvent { id: old.map(|record| record.id()), ..fresh(random, truth) }
        }
        _ => fresh(random, truth),
    };
    let salts = Salts { meta: random.random(), data: random.random() };
    Proposed { event, salts, id_random: random.random() }
}

fn any_client_record<'a>(random: &mut SmallRng, log: &'a [Arc<Record>]) -> Option<&'a Arc<Record>> {
    if log.is_empty() {
        return None;
    }
    let record = &log[random.random_range(0..log.len())];
    (!record.event().is_system()).then_some(record)
}

fn repeated(record: &Record) -> NewEvent {
    NewEvent {
        identity: record.identity().clone(),
        data: Data::checked(Bytes::copy_from_slice(record.data())),
        id: Some(record.id()),
        expected_version: None,
        author: record.author().cloned(),
    }
}

fn fresh(random: &mut SmallRng, truth: &Oracle) -> NewEvent {
    let user = |random: &mut SmallRng| {
        let user = USERS[random.random_range(0..USERS.len())];
        user.map(|user| User::parse(user).expect("it is valid"))
    };
    let name = NAMES[random.random_range(0..NAMES.len())];
    let event = Name::stored(name).expect("it is valid");
    let to = user(random).filter(|_| !event.is_system());
    let identity = Identity { event, to };
    let len = match random.random_range(0..20) {
        0 => random.random_range(600..6_000),
        1..=4 => random.random_range(100..600),
        _ => random.random_range(1..40),
    };
    let letters: String = (0..len).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect();
    let id = match random.random_range(0..10) {
        0..=3 => None,
        // An id that looks like a server id, with a seq near the head.
        4 => {
            let near = truth.log.len() as u64 + random.random_range(0..4);
            let last = truth.log.last().map_or(Timestamp::from_millis(0), |last| last.time());
            let time = Timestamp::now().max(last);
            Some(server_id(near.max(1), time, random.random()))
        }
        _ => Some(Uuid::from_u128(random.random())),
    };
    let version = truth.log.iter().filter(|record| *record.identity() == identity).count() as u64;
    let expected_version = match random.random_range(0..10) {
        0 => Some(version),
        1 => Some(random.random_range(0..3)),
        _ => None,
    };
    let data = Data::checked(Bytes::from(format!("\"{letters}\"")));
    NewEvent { identity, data, id, expected_version, author: user(random) }
}

//! The order of one process: a queue and one thread that appends.
//!
//! It takes one submission, drains what is already there, decides, and commits the group; while
//! it syncs the next group collects. There is no timer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::sync::oneshot;
use tracing::{debug_span, error};
use uuid::Uuid;

use super::ids::RecentIds;
use super::queue::{Drain, Next, Queue, Queued, queue};
use super::{LookedUp, Order, ProposeError, Submission, Ticket};
use crate::decide::{Limits, Proposed, Seen, State, Verdict, is_same_insert};
use crate::journal::AppendError;
use crate::record::{Record, Seq, Timestamp, named_seqs};

/// A group ends when it holds so many records …
const GROUP_RECORDS_MAX: usize = 4_096;
/// … or so many queued bytes: a synced write of 1 MiB takes 0.8 ms, after which more per group
/// only adds latency.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// Where groups become durable.
pub trait Log: Send + 'static {
    /// Returns once the group is on stable storage.
    ///
    /// # Errors
    /// [`AppendError`]: whether anything may have been stored.
    fn append(&mut self, records: &[Arc<Record>]) -> Result<(), AppendError>;

    /// Called once, after the last group.
    ///
    /// # Errors
    /// The failure as a sentence.
    fn close(self) -> Result<(), String>;
}

/// Who is told of every durable group, in order, before it is acknowledged.
pub trait Observer: Send + 'static {
    /// Must not block: the next group waits for it.
    fn committed(&mut self, group: &[Arc<Record>]);

    /// The groups so far are acknowledged too.
    fn acknowledged(&mut self);

    /// The log failed for good.
    fn failed(&mut self, error: &AppendError);
}

/// Where ids are found that are not recent.
pub trait RestoredIds: Send + 'static {
    /// Every record up to here can be found by its id, unless that names its place.
    fn applied(&self) -> Seq;

    /// The record of an old id that does not name its place, when it is applied.
    ///
    /// # Errors
    /// [`ProposeError::IdsNotReady`] when that cannot be told now.
    fn find_old(&self, id: &Uuid) -> Result<Option<Arc<Record>>, ProposeError>;

    /// The record at a seq that is durable.
    ///
    /// # Errors
    /// [`ProposeError::IdsNotReady`] when it cannot be read.
    fn at(&mut self, seq: Seq) -> Result<Arc<Record>, ProposeError>;
}

/// Settings of the local order.
#[derive(Clone, Copy, Debug)]
pub struct LocalOptions {
    /// Bytes that may wait in the queue.
    pub queue_bytes_max: usize,
    /// Bounds of the fold.
    pub limits: Limits,
}

/// The order of one process.
#[derive(Debug)]
pub struct Local {
    queue: Queue,
    failed: Arc<AtomicBool>,
}

/// Resolves when the appending thread has drained its queue and closed the log.
pub type Stopped = oneshot::Receiver<()>;

impl Local {
    /// Starts the appending thread on a state and the ids of the last records; older ones are
    /// looked up in `ids`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start<L: Log, O: Observer, I: RestoredIds>(
        log: L,
        state: State,
        recent: RecentIds,
        ids: I,
        observer: O,
        options: LocalOptions,
    ) -> std::io::Result<(Self, Stopped)> {
        let (queue, drain) = queue(options.queue_bytes_max);
        let failed = Arc::new(AtomicBool::new(false));
        let (stopped, on_stopped) = oneshot::channel();
        let appender = Appender {
            log,
            state,
            recent,
            ids,
            observer,
            limits: options.limits,
            drain,
            failed: failed.clone(),
        };
        thread::Builder::new().name("order".to_owned()).spawn(move || {
            appender.run();
            // Nobody waits any more when the receiver is gone.
            let _ = stopped.send(());
        })?;
        Ok((Self { queue, failed }, on_stopped))
    }

    /// Lets the thread finish what is queued and end.
    pub fn stop(&self) {
        self.queue.stop();
    }

    /// Bytes that wait in the queue.
    #[must_use]
    pub fn queue_bytes(&self) -> usize {
        self.queue.bytes()
    }
}

impl Order for Local {
    fn propose(&self, submission: Submission) -> Result<Ticket, ProposeError> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(ProposeError::StorageFailed);
        }
        self.queue.push(submission)
    }
}

/// The one owner of the log and the fold's state.
struct Appender<L, O, I> {
    log: L,
    state: State,
    recent: RecentIds,
    ids: I,
    observer: O,
    limits: Limits,
    drain: Drain,
    failed: Arc<AtomicBool>,
}

/// The answer to one proposal, held back until its group is durable: even a refusal tells of
/// versions that the group may just have made.
type Answer = (oneshot::Sender<Result<Verdict, ProposeError>>, Result<Verdict, ProposeError>);

/// What one commit writes, and whom it answers afterwards.
#[derive(Default)]
struct Group {
    records: Vec<Arc<Record>>,
    answers: Vec<Answer>,
    queued_bytes: usize,
}

impl<L: Log, O: Observer, I: RestoredIds> Appender<L, O, I> {
    fn run(mut self) {
        loop {
            let mut group = Group::default();
            let mut next = self.drain.wait();
            while let Next::Queued(queued) = next {
                self.decide(queued, &mut group);
                next = if group.is_full() { Next::Empty } else { self.drain.take() };
            }
            self.commit(group);
            if let Next::Stop = next {
                break;
            }
        }
        self.drain.close();
        while let Next::Queued(queued) = self.drain.take() {
            respond(queued.answer, Err(ProposeError::Stopping));
        }
        if let Err(reason) = self.log.close() {
            error!(%reason, "the log was not closed cleanly");
        }
    }

    fn decide(&mut self, queued: Queued, group: &mut Group) {
        let Queued { submission, answer, bytes } = queued;
        group.queued_bytes += bytes;
        let verdict = self.verdict(submission, group);
        if let Ok(Verdict::Append(records)) = &verdict {
            group.records.extend(records.iter().cloned());
            for record in records {
                self.recent.insert(record);
            }
        }
        group.answers.push((answer, verdict));
    }

    fn verdict(&mut self, submission: Submission, group: &Group) -> Result<Verdict, ProposeError> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(ProposeError::StorageFailed);
        }
        if self.recent.is_full() {
            // While inserts are refused no group is committed that would do it.
            self.recent.trim(self.ids.applied());
        }
        if self.recent.is_full() {
            let records = self.state.last_seq().saturating_sub(self.ids.applied());
            return Err(ProposeError::ProjectionLag { records });
        }
        let seen = self.look_up(&submission, group)?;
        let now = Timestamp::now();
        Ok(self.state.decide(submission.proposal, &seen, now, self.limits)?)
    }

    /// What was found before the queue is durable and stays so. Other ids are recent, in memory or
    /// in this very group, or unknown, unless ids were trimmed since that look-up.
    ///
    /// It ends at the first id that belongs to something else: the fold refuses there.
    fn look_up(&mut self, submission: &Submission, group: &Group) -> Result<Found, ProposeError> {
        let mut found = Found(HashMap::new());
        for Proposed { event, .. } in &submission.proposal.events {
            let Some(id) = event.id else { continue };
            let known = submission.known.get(&id);
            let record = match (known, self.recent.seq_of(&id)) {
                (Some(record), _) => Some(record.clone()),
                (None, Some(seq)) => Some(match group.at(seq) {
                    Some(record) => record.clone(),
                    None => self.ids.at(seq)?,
                }),
                (None, None) => self.find_trimmed(&id, submission.looked_up)?,
            };
            let Some(record) = record else { continue };
            let is_same = is_same_insert(&record, event);
            found.0.insert(id, record);
            if !is_same {
                break;
            }
        }
        Ok(found)
    }

    /// The record of an id that is not recent, where the look-up before the queue did not see as
    /// far as what is recent begins.
    fn find_trimmed(
        &mut self,
        id: &Uuid,
        looked_up: LookedUp,
    ) -> Result<Option<Arc<Record>>, ProposeError> {
        let trimmed_through = self.recent.trimmed_through();
        for seq in named_seqs(id, trimmed_through).take_while(|seq| *seq > looked_up.named) {
            let record = self.ids.at(seq)?;
            if record.id() == *id {
                return Ok(Some(record));
            }
        }
        if looked_up.others >= trimmed_through {
            return Ok(None);
        }
        // Before the look-up. After a start with a projection that was far behind, records may lie
        // between the two, and nobody can tell their ids.
        let applied = self.ids.applied();
        match self.ids.find_old(id)? {
            None if applied < trimmed_through => Err(ProposeError::IdsNotReady),
            found => Ok(found),
        }
    }

    /// Durable, then handed to the observer, then acknowledged, then announced to whoever sleeps:
    /// the order that everything stands on.
    fn commit(&mut self, group: Group) {
        if !group.records.is_empty() {
            let span = debug_span!("commit", len = group.records.len(), bytes = group.queued_bytes);
            if let Err(error) = span.in_scope(|| self.log.append(&group.records)) {
                return self.give_up(&error, group);
            }
            self.state.settle();
            self.observer.committed(&group.records);
            self.recent.trim(self.ids.applied());
        }
        let appended = !group.records.is_empty();
        for (answer, verdict) in group.answers {
            respond(answer, verdict);
        }
        if appended {
            self.observer.acknowledged();
        }
        self.drain.release(group.queued_bytes);
    }

    /// A full disk is found before anything is written, so the fold goes back and goes on; any
    /// other failure is final.
    fn give_up(&mut self, error: &AppendError, group: Group) {
        let refusal = match error {
            AppendError::NoSpace(_) => {
                self.state.undo();
                self.recent.forget(group.records.len());
                ProposeError::NoSpace
            }
            AppendError::Final(_) => {
                self.failed.store(true, Ordering::Relaxed);
                self.observer.failed(error);
                ProposeError::Unknown
            }
        };
        let first = group.records.first().map_or(Seq::MAX, |record| record.seq());
        for (answer, verdict) in group.answers {
            let stands = match &verdict {
                Ok(Verdict::Append(_)) => false,
                Ok(Verdict::Known(records)) => records.iter().all(|record| record.seq() < first),
                // It may rest on a version that this group did not make.
                Err(ProposeError::Rejected(_)) => false,
                Err(_) => true,
            };
            respond(answer, if stands { verdict } else { Err(refusal.clone()) });
        }
        self.drain.release(group.queued_bytes);
    }
}

impl Group {
    fn is_full(&self) -> bool {
        self.records.len() >= GROUP_RECORDS_MAX || self.queued_bytes >= GROUP_BYTES_MAX
    }

    fn at(&self, seq: Seq) -> Option<&Arc<Record>> {
        let first = self.records.first()?.seq();
        self.records.get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }
}

/// The records that a submission's ids belong to.
struct Found(HashMap<Uuid, Arc<Record>>);

impl Seen for Found {
    fn find(&self, id: &Uuid) -> Option<Arc<Record>> {
        self.0.get(id).cloned()
    }
}

/// A caller that went away meanwhile needs no answer.
fn respond(
    answer: oneshot::Sender<Result<Verdict, ProposeError>>,
    result: Result<Verdict, ProposeError>,
) {
    let _ = answer.send(result);
}

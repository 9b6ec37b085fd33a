//! Deciding and committing: one group after the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tracing::{debug_span, error};
use uuid::Uuid;

use crate::decide::{FoldState, Limits, Proposed, SeenIds, Verdict, is_same_insert};
use crate::journal::AppendError;
use crate::order::local::permit::AppendPermit;
use crate::order::local::queue_state::{HeldBytes, Queued};
use crate::order::local::recent_ids::RecentIds;
use crate::order::ports::{Log, Observer, RestoredIds};
use crate::order::{LookedUp, ProposeError, Submission};
use crate::record::{Record, Seq, Timestamp, named_seqs};

/// A group ends when it holds so many records …
const GROUP_RECORDS_MAX: usize = 4_096;
/// … or so many queued bytes: a synced write of 1 MiB takes 0.8 ms, after which more per group
/// only adds latency.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// The one owner of the log and the fold's state.
pub struct Appender<L, O, I> {
    pub log: L,
    pub state: FoldState,
    pub recent: RecentIds,
    pub ids: I,
    pub observer: O,
    pub limits: Limits,
    pub failed: Arc<AtomicBool>,
}

/// The answer to one proposal, held back until its group is durable: even a refusal tells of
/// versions that the group may just have made.
type PendingAnswer =
    (oneshot::Sender<Result<Verdict, ProposeError>>, Result<Verdict, ProposeError>);

/// What one commit writes, and whom it answers afterwards.
#[derive(Default)]
struct PendingGroup {
    records: Vec<Arc<Record>>,
    answers: Vec<PendingAnswer>,
    queued_bytes: usize,
    /// What they hold of the queue's bytes.
    held: HeldBytes,
}

/// What the appending thread and callers do in their turn, whatever the engines are.
pub trait Append: Send {
    /// Commits one group: `first`, or else the turn's share of what is queued. Answers how many
    /// submissions it was.
    fn append(&mut self, turn: &AppendPermit, first: Option<Queued>) -> usize;

    /// Whether a group of about so many bytes is only a write and a sync.
    fn has_room(&self, bytes: usize) -> bool;

    /// Called once, after the last group.
    fn close(self: Box<Self>);
}

impl<L: Log, O: Observer, I: RestoredIds> Append for Appender<L, O, I> {
    fn append(&mut self, turn: &AppendPermit, first: Option<Queued>) -> usize {
        let mut group = PendingGroup::default();
        match first {
            Some(queued) => self.decide(queued, &mut group),
            None => {
                while let Some(queued) = turn.take() {
                    self.decide(queued, &mut group);
                    if group.is_full() || group.answers.len() >= turn.share {
                        break;
                    }
                }
            }
        }
        let (submissions, held) = (group.answers.len(), group.held);
        self.commit(group);
        turn.release(held);
        submissions
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.log.has_room(bytes)
    }

    fn close(self: Box<Self>) {
        if let Err(reason) = self.log.close() {
            error!(%reason, "the log was not closed cleanly");
        }
    }
}

impl<L: Log, O: Observer, I: RestoredIds> Appender<L, O, I> {
    fn decide(&mut self, queued: Queued, group: &mut PendingGroup) {
        let Queued { submission, answer, bytes, held } = queued;
        group.queued_bytes += bytes;
        group.held.add(held);
        let verdict = self.verdict(submission, group);
        if let Ok(Verdict::Append(records)) = &verdict {
            group.records.extend(records.iter().cloned());
            for record in records {
                self.recent.insert(record);
            }
        }
        group.answers.push((answer, verdict));
    }

    fn verdict(
        &mut self,
        submission: Submission,
        group: &PendingGroup,
    ) -> Result<Verdict, ProposeError> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(ProposeError::StorageFailed);
        }
        if let Some(records) = self.recent.lag_beyond_bound(|| self.ids.applied()) {
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
    fn look_up(
        &mut self,
        submission: &Submission,
        group: &PendingGroup,
    ) -> Result<FoundRecords, ProposeError> {
        let mut found = FoundRecords(HashMap::new());
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
    fn commit(&mut self, group: PendingGroup) {
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
    }

    /// A full disk is found before anything is written, so the fold goes back and goes on; any
    /// other failure is final.
    fn give_up(&mut self, error: &AppendError, group: PendingGroup) {
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
    }
}

impl PendingGroup {
    fn is_full(&self) -> bool {
        self.records.len() >= GROUP_RECORDS_MAX || self.queued_bytes >= GROUP_BYTES_MAX
    }

    fn at(&self, seq: Seq) -> Option<&Arc<Record>> {
        let first = self.records.first()?.seq();
        self.records.get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }
}

/// The records that a submission's ids belong to.
struct FoundRecords(HashMap<Uuid, Arc<Record>>);

impl SeenIds for FoundRecords {
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

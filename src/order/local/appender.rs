//! Decides and commits, one group after the other.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::{debug_span, error};
use uuid::Uuid;

use crate::decide::{FoldState, Proposal, Proposed, SeenIds, Verdict, is_same_insert};
use crate::journal::AppendError;
use crate::order::admission::AdmittedBytes;
use crate::order::fail_stop::FailStop;
use crate::order::local::permit::AppendPermit;
use crate::order::local::queue_state::QueuedSubmission;
use crate::order::local::recent_ids::RecentIds;
use crate::order::ports::{Log, Observer, Ports, RestoredIds};
use crate::order::submission::{LookedUp, ProposeError, Submission};
use crate::record::{Record, Seq, Timestamp, encoded_seqs};

/// Maximum records of a group, unless its last proposal brings more.
const GROUP_RECORDS_MAX: usize = 4_096;
/// Maximum queued bytes of a group, unless its last proposal brings more: a synced write of 1 MiB
/// takes 0.8 ms, and a larger one only adds latency.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// The one owner of the log and of the fold's state.
pub struct Appender<L, O, I> {
    pub ports: Ports<L, O, I>,
    pub state: FoldState,
    pub recent: RecentIds,
    pub clock: fn() -> Timestamp,
    pub fail_stop: FailStop,
}

/// The answer to one proposal. It is held back until its group is durable, because even a rejection
/// reveals versions that the group may just have made.
type PendingAnswer =
    (oneshot::Sender<Result<Verdict, ProposeError>>, Result<Verdict, ProposeError>);

/// What one commit writes, and the answers that follow it.
#[derive(Default)]
struct PendingGroup {
    records: Vec<Arc<Record>>,
    answers: Vec<PendingAnswer>,
    queued_bytes: usize,
    admitted: AdmittedBytes,
}

/// What a holder of the append permit does, whatever the ports are.
pub trait Append: Send {
    /// Commits one group: `first`, or else what the permit takes from the queue. Returns the number
    /// of submissions.
    fn append(&mut self, permit: &AppendPermit, first: Option<QueuedSubmission>) -> usize;

    /// Whether a group of about this size needs only a write and a sync.
    fn has_room(&self, bytes: usize) -> bool;

    /// Called once, after the last group.
    fn close(self: Box<Self>);
}

impl<L: Log, O: Observer, I: RestoredIds> Append for Appender<L, O, I> {
    fn append(&mut self, permit: &AppendPermit, first: Option<QueuedSubmission>) -> usize {
        let mut group = PendingGroup::default();
        match first {
            Some(queued) => self.decide(queued, &mut group),
            None => {
                while let Some(queued) = permit.take() {
                    self.decide(queued, &mut group);
                    if group.is_full() || group.answers.len() >= permit.group_max {
                        break;
                    }
                }
            }
        }
        let (submissions, admitted) = (group.answers.len(), group.admitted);
        self.commit(group);
        permit.release(admitted);
        submissions
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.ports.log.has_room(bytes)
    }

    fn close(self: Box<Self>) {
        if let Err(reason) = self.ports.log.close() {
            error!(%reason, "the log was not closed cleanly");
        }
    }
}

impl<L: Log, O: Observer, I: RestoredIds> Appender<L, O, I> {
    /// Appends the opening as a group of its own, before anything is proposed.
    ///
    /// # Errors
    /// [`AppendError`].
    pub fn open(&mut self, opening: Option<Proposal>) -> Result<Vec<Arc<Record>>, AppendError> {
        let mut records = Vec::new();
        if let Some(proposal) = opening {
            let nothing_seen = FoundRecords(HashMap::new());
            let verdict = self.state.decide(proposal, &nothing_seen, (self.clock)());
            let Ok(Verdict::Append(opened)) = verdict else {
                unreachable!("an opening has no ids, no expectations and no limits");
            };
            self.ports.log.append(&opened)?;
            self.state.settle();
            for record in &opened {
                self.recent.insert(record);
            }
            self.ports.observer.committed(&opened);
            self.ports.observer.acknowledged();
            records = opened;
        }
        self.recent.count_lag_from_here();
        Ok(records)
    }

    fn decide(&mut self, queued: QueuedSubmission, group: &mut PendingGroup) {
        let QueuedSubmission { submission, answer, bytes, admitted } = queued;
        group.queued_bytes += bytes;
        group.admitted.add(admitted);
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
        if self.fail_stop.is_refusing() {
            return Err(ProposeError::StorageFailed);
        }
        if let Some(records) = self.recent.lag_beyond_bound(|| self.ports.ids.applied()) {
            return Err(ProposeError::ProjectionLag { records });
        }
        let seen = self.look_up(&submission, group)?;
        Ok(self.state.decide(submission.proposal, &seen, (self.clock)())?)
    }

    /// Finds the records of the proposal's ids. Those that were found before the queue are durable.
    /// Any other id is recent, in memory or in this very group, or unknown, unless ids were trimmed
    /// since that look-up.
    ///
    /// It ends at the first id that belongs to something else, where the fold rejects.
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
                    None => self.ports.ids.at(seq)?,
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

    /// The record of an id that is not recent, where the look-up before the queue did not reach the
    /// first recent record.
    fn find_trimmed(
        &mut self,
        id: &Uuid,
        looked_up: LookedUp,
    ) -> Result<Option<Arc<Record>>, ProposeError> {
        let trimmed_through = self.recent.trimmed_through();
        for seq in encoded_seqs(id, trimmed_through).take_while(|seq| *seq > looked_up.named) {
            let record = self.ports.ids.at(seq)?;
            if record.id() == *id {
                return Ok(Some(record));
            }
        }
        if looked_up.others >= trimmed_through {
            return Ok(None);
        }
        // Read before the look-up. After a start with a projection that was far behind, records may
        // lie between the two whose ids are in neither.
        let applied = self.ports.ids.applied();
        match self.ports.ids.find_old(id)? {
            None if applied < trimmed_through => Err(ProposeError::IdsNotReady),
            found => Ok(found),
        }
    }

    /// Makes a group durable, then visible, then acknowledges it, then wakes streams: the order that
    /// everything relies on.
    fn commit(&mut self, group: PendingGroup) {
        if !group.records.is_empty() {
            let span = debug_span!("commit", len = group.records.len(), bytes = group.queued_bytes);
            if let Err(error) = span.in_scope(|| self.ports.log.append(&group.records)) {
                return self.give_up(&error, group);
            }
            self.state.settle();
            self.ports.observer.committed(&group.records);
            self.recent.trim(self.ports.ids.applied());
        }
        let appended = !group.records.is_empty();
        for (answer, verdict) in group.answers {
            respond(answer, verdict);
        }
        if appended {
            self.ports.observer.acknowledged();
        }
    }

    /// A full disk is noticed before anything is written, so the fold takes the group back and goes
    /// on. Any other failure is final.
    fn give_up(&mut self, error: &AppendError, group: PendingGroup) {
        let refusal = match error {
            AppendError::NoSpace(_) => {
                self.state.undo();
                self.recent.forget(group.records.len());
                ProposeError::NoSpace
            }
            AppendError::Final(_) => {
                error!(%error, "the log's storage failed; nothing more is acknowledged");
                self.fail_stop.fail();
                ProposeError::Unknown
            }
        };
        let first = group.records.first().map_or(Seq::MAX, |record| record.seq());
        for (answer, verdict) in group.answers {
            let stands = match &verdict {
                Ok(Verdict::Known(records)) => records.iter().all(|record| record.seq() < first),
                // A rejection may be based on a version of this group.
                Ok(Verdict::Append(_)) | Err(ProposeError::Rejected(_)) => false,
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

/// A caller that has gone away needs no answer.
fn respond(
    answer: oneshot::Sender<Result<Verdict, ProposeError>>,
    result: Result<Verdict, ProposeError>,
) {
    let _ = answer.send(result);
}

//! The one thread that writes the store: it follows the journal, and rebuilds an invalid store.

pub mod apply;
mod begin;
pub mod budget;
pub mod pointers;
pub mod progress;
pub mod session;

use std::convert::Infallible;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::projection::follow::apply::{STEP_BYTES_MAX, STEP_RECORDS_MAX};
use crate::projection::follow::session::{SessionEnd, StoreSession};
use crate::projection::open::directory::StoreDirectory;
use crate::projection::open::opened_store::OpenedStore;
use crate::projection::open::progress_file::ProgressFile;
use crate::projection::open::starting_point::StartingPoint;
use crate::projection::open::{data_loss, progress_file};
use crate::projection::options::ProjectionOptions;
use crate::projection::status::{
    FollowPhase, LAG_RECORDS_MAX, PauseEnd, ProjectionStatus, SharedStatus,
};
use crate::record::Seq;

/// Maximum wait for the journal; a stop or an invalid store ends it.
const IDLE_WAIT: Duration = Duration::from_secs(1);

/// How long a short step waits for more records, unless a reader waits. A record costs less in a
/// step of a thousand than alone, and this thread takes CPU time from the one that acknowledges. No
/// promise depends on this wait.
const STEP_WAIT: Duration = Duration::from_millis(50);

/// Minimum time over which a burst is measured, and the time after which a pause checks whether it
/// is over.
const BURST_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Maximum age of the progress file while records are applied. sled syncs as often, so the file is
/// as good durability evidence as the store. In tests every write is due.
const PROGRESS_FILE_AGE_MAX: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 500 });

/// Maximum number of stores quarantined in one run. Sound hardware needs none; a machine that
/// damages every store would fill the disk with them.
const QUARANTINES_MAX: u32 = 5;

/// State of the projection thread.
pub struct ProjectionThread {
    pub shared: Arc<SharedStatus>,
    pub directory: StoreDirectory,
    pub log_id: Uuid,
    pub options: ProjectionOptions,
    pub alive: mpsc::Sender<()>,
    /// Where the journal ended at the start, before anything was appended; `None` once there is a
    /// store. If the store of an earlier process is ahead of it, the journal has lost records.
    pub start_head: Option<Seq>,
    /// A store that had to be opened before the log.
    pub opened: Option<OpenedStore>,
}

impl ProjectionThread {
    /// Runs until the projection is closed or has failed.
    pub fn run(mut self, mut start: StartingPoint) {
        let mut quarantines = 0;
        loop {
            if let StartingPoint::Invalid(reason) = &start {
                quarantines += 1;
                if quarantines > QUARANTINES_MAX {
                    let reason =
                        format!("{reason}; {QUARANTINES_MAX} stores were quarantined already");
                    return self.shared.fail(reason);
                }
                tracing::warn!(%reason, "the projection is quarantined and rebuilt");
            }
            let Err(end) = self.begin(start).and_then(|session| self.run_session(session));
            self.shared.withdraw_store();
            match end {
                SessionEnd::Invalid(reason) => start = StartingPoint::Invalid(reason),
                SessionEnd::Failed(reason) => return self.shared.fail(reason),
                SessionEnd::DataLoss { applied, head } => {
                    return self.report_data_loss(applied, head);
                }
                SessionEnd::NoSpace(paused) => start = StartingPoint::NoSpace(paused),
                SessionEnd::Stopped => return self.shared.close(),
            }
        }
    }

    fn run_session(&self, mut session: StoreSession) -> Result<Infallible, SessionEnd> {
        let ended = self.follow(&mut session);
        if matches!(ended, Err(SessionEnd::Stopped)) {
            self.write_progress(&mut session);
        }
        ended
    }

    fn follow(&self, session: &mut StoreSession) -> Result<Infallible, SessionEnd> {
        let mut follower = self.shared.reader().follow(session.applied.seq);
        loop {
            let records = follower.next_located(STEP_BYTES_MAX)?;
            for records in records.chunks(STEP_RECORDS_MAX) {
                self.check_session(session)?;
                let (began, head) = (Instant::now(), self.shared.head());
                let StoreSession { store, pointers, applied, .. } = session;
                let step = apply::step(store, pointers, self.log_id, *applied, records);
                session.applied = step.map_err(|fault| session.invalidate(fault))?;
                if let Some(scrub) = &mut session.scrub {
                    scrub.note_step(records);
                }
                self.write_progress_if_due(session);
                self.publish_status(session);
                // Clients are refused until the scrub is done or the store is built, so there is no
                // pause before.
                if session.scrub.is_none() && session.readable_at.is_none() {
                    self.pause_in_burst(session, head, began);
                }
            }
            self.check_session(session)?;
            let scrubbed = session.scrub_slice()?;
            if records.is_empty() {
                self.write_progress_if_due(session);
                self.publish_status(session);
                // The scrub takes at most half of a core.
                let idle_wait =
                    self.unwritten_progress(session).map_or(IDLE_WAIT, |_| PROGRESS_FILE_AGE_MAX);
                let wait = scrubbed.unwrap_or(idle_wait);
                let began = Instant::now();
                let head = self.shared.reader().wait_past(session.applied.seq, wait);
                session.budget.refill(began.elapsed());
                if (1..STEP_RECORDS_MAX as u64).contains(&(head - session.applied.seq)) {
                    // However the pause ends, there is something to apply.
                    let _ = self.shared.pause(STEP_WAIT);
                }
            }
        }
    }

    /// Pauses during a burst, so that inserts get the CPU time, as long as the budget lasts, the
    /// lag stays in bounds and no reader waits. `head_before` was the head at `counted_since`.
    fn pause_in_burst(
        &self,
        session: &mut StoreSession,
        mut head_before: Seq,
        mut counted_since: Instant,
    ) {
        loop {
            let head = self.shared.head();
            let inserted = head - head_before;
            // As many again may come before the next check.
            let exceeds_lag =
                head - session.applied.seq + inserted >= self.options.burst_lag_records_max;
            let pause = session.budget.left().min(BURST_CHECK_INTERVAL);
            let is_burst =
                is_burst(inserted, counted_since.elapsed(), self.options.burst_records_per_second);
            if exceeds_lag || pause.is_zero() || !is_burst {
                return;
            }
            (head_before, counted_since) = (head, Instant::now());
            let ended = self.shared.pause(pause);
            session.budget.spend(counted_since.elapsed());
            self.write_progress_if_due(session);
            self.publish_status(session);
            if ended == PauseEnd::Interrupted {
                return;
            }
        }
    }

    /// The progress file that is still to be written.
    fn unwritten_progress(&self, session: &StoreSession) -> Option<ProgressFile> {
        let progress_file = ProgressFile { applied: session.applied, ..session.progress_file };
        let opens_in_background = progress_file.replayed() > self.options.replayed_records_max;
        (opens_in_background && progress_file != session.progress_file).then_some(progress_file)
    }

    /// Writes the progress file if the last one is old.
    fn write_progress_if_due(&self, session: &mut StoreSession) {
        let is_due = session
            .progress_written
            .is_none_or(|written| written.elapsed() >= PROGRESS_FILE_AGE_MAX);
        if is_due {
            self.write_progress(session);
        }
    }

    /// Writes the progress file, once the store has come so far that the next start opens it in the
    /// background. Without the file that start waits for the open, which is the only harm.
    fn write_progress(&self, session: &mut StoreSession) {
        let Some(progress_file) = self.unwritten_progress(session) else { return };
        (session.progress_file, session.progress_written) = (progress_file, Some(Instant::now()));
        let (dir, generation) = (self.directory.path(), self.directory.generation());
        if let Err(error) = session.progress_file.write(dir, generation, self.log_id) {
            tracing::debug!(%error, "the progress file cannot be written; the next start waits");
            // An old one would give too low a position.
            if let Err(error) = progress_file::remove(dir) {
                tracing::warn!(%error, "an old progress file cannot be removed");
            }
        }
    }

    /// The store holds records that the log did not have when it was opened. The log may have grown
    /// past them by the next start, so a file records the loss.
    fn report_data_loss(&self, applied: Seq, head: Seq) {
        let dir = self.directory.path();
        // Without the progress file the next start opens the store first.
        let removed = progress_file::remove(dir);
        if let Err(error) = data_loss::write(dir, applied, head).and(removed) {
            tracing::error!(%error, "the data loss cannot be recorded: do not start again");
        }
        self.shared.report_data_loss();
        self.shared.fail(data_loss::sentence(applied, head));
    }

    /// Fails when the projection is stopped or the store is invalid.
    fn check_session(&self, session: &StoreSession) -> Result<(), SessionEnd> {
        if self.shared.is_stopped() {
            return Err(SessionEnd::Stopped);
        }
        session.store.fault().map_or(Ok(()), |fault| Err(session.end_for(fault)))
    }

    /// Reports the applied position, and makes the store readable once that is high enough.
    fn publish_status(&self, session: &mut StoreSession) {
        let (seq, head) = (session.applied.seq, self.shared.head());
        if session.readable_at.is_some_and(|readable_at| seq >= readable_at) {
            session.readable_at = None;
            self.shared.publish_store(&session.store);
        }
        let lag = head.saturating_sub(seq);
        let phase = match self.shared.status().phase {
            _ if session.readable_at.is_some() && session.is_new => FollowPhase::Rebuilding,
            _ if session.readable_at.is_some() => FollowPhase::Opening,
            FollowPhase::Ready if lag <= LAG_RECORDS_MAX => FollowPhase::Ready,
            _ if lag == 0 => FollowPhase::Ready,
            _ => FollowPhase::CatchingUp,
        };
        if phase != FollowPhase::Ready
            && let Some(progress) = &mut session.progress
        {
            progress.update(seq, head);
        } else if let Some(progress) = session.progress.take() {
            progress.end(seq);
        }
        let ids_complete = session.store.ids_complete() && session.readable_at.is_none();
        let applied = seq.max(session.published);
        self.shared.publish_status(ProjectionStatus { applied, phase, ids_complete });
    }
}

/// Whether this many records in this time are a burst.
fn is_burst(records: u64, elapsed: Duration, per_second: u64) -> bool {
    u128::from(records) * Duration::from_secs(1).as_nanos()
        >= u128::from(per_second) * elapsed.max(BURST_CHECK_INTERVAL).as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_inserts_at_once_are_not_a_burst() {
        let ms = Duration::from_millis;
        assert!(!is_burst(79, Duration::ZERO, 4_000));
        assert!(is_burst(80, Duration::ZERO, 4_000));
        assert!(is_burst(80, BURST_CHECK_INTERVAL, 4_000));
        assert!(!is_burst(399, ms(100), 4_000));
        assert!(is_burst(400, ms(100), 4_000));
    }
}

//! The one thread that writes the store: it follows the journal, and rebuilds what is in doubt.

pub mod apply;
pub mod budget;
pub mod pointers;
pub mod progress;
pub mod session;

use std::convert::Infallible;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::journal::JournalError;
use crate::projection::ProjectionOptions;
use crate::projection::follow::apply::STEP_RECORDS_MAX;
use crate::projection::follow::session::{SessionEnd, StoreSession};
use crate::projection::open::begin::{OpenedStore, StartingPoint};
use crate::projection::open::directory::StoreDirectory;
use crate::projection::open::progress_file::ProgressFile;
use crate::projection::open::{data_loss, progress_file};
use crate::projection::status::{FollowPhase, PauseEnd, ProjectionStatus, SharedStatus};
use crate::record::Seq;

/// Most stored bytes that one read of the journal asks for. Of each record only leaf, meta and place
/// are held.
pub const STEP_BYTES_MAX: usize = 4 << 20;

/// How long the thread waits for the journal at most; stopping and doubt end the wait.
const IDLE_WAIT: Duration = Duration::from_secs(1);

/// How long a short step waits for more, as long as no reader waits for it. A record costs less
/// in a step of a thousand than alone, and this thread takes its time from the one that
/// acknowledges. Nothing that was promised waits for it.
const STEP_WAIT: Duration = Duration::from_millis(50);

/// A burst lasts for so long at least, after which a rest looks whether it is over.
const BURST_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Further behind than this the projection is catching up: about 1 s of work beside a full load.
pub const LAG_RECORDS_MAX: u64 = 50_000;

/// How old a milestone may be while records are applied: sled syncs as often, so that it is as good a
/// witness of the log. Under test one is always old.
const PROGRESS_FILE_AGE_MAX: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 500 });

/// Most stores that are set aside in one run. Sound hardware needs none; a machine that damages
/// every store would fill the disk with them.
const QUARANTINES_MAX: u32 = 5;

/// The thread's own state.
pub struct ProjectionThread {
    pub shared: Arc<SharedStatus>,
    pub directory: StoreDirectory,
    pub log_id: Uuid,
    pub options: ProjectionOptions,
    pub alive: mpsc::Sender<()>,
    /// Where the journal ended at the start, before anything was appended, until there is a store:
    /// one of an earlier process that is ahead of that proves that the journal has lost something.
    pub start_head: Option<Seq>,
    /// A store that had to be opened before the log was.
    pub opened: Option<OpenedStore>,
}

impl ProjectionThread {
    /// Runs until the projection is closed, or nothing helps any more.
    pub fn run(mut self, mut start: StartingPoint) {
        let mut quarantines = 0;
        loop {
            if let StartingPoint::Invalid(reason) = &start {
                quarantines += 1;
                if quarantines > QUARANTINES_MAX {
                    let reason =
                        format!("{reason}; {QUARANTINES_MAX} stores were set aside already");
                    return self.shared.fail(reason);
                }
                tracing::warn!(%reason, "the projection is moved aside and rebuilt");
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
            let read = follower.next_located(STEP_BYTES_MAX);
            let records = read.map_err(unreadable)?;
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
                // Clients are refused until the walk is over, or the store is built.
                if session.scrub.is_none() && session.readable_at.is_none() {
                    self.pause_in_burst(session, head, began);
                }
            }
            self.check_session(session)?;
            let scrubbed = session.scrub_slice()?;
            if records.is_empty() {
                self.write_progress_if_due(session);
                self.publish_status(session);
                // The walk takes at most half of a core.
                let idle_wait =
                    self.unwritten_progress(session).map_or(IDLE_WAIT, |_| PROGRESS_FILE_AGE_MAX);
                let wait = scrubbed.unwrap_or(idle_wait);
                let began = Instant::now();
                let head = self.shared.reader().wait_past(session.applied.seq, wait);
                session.budget.refill(began.elapsed());
                if (1..STEP_RECORDS_MAX as u64).contains(&(head - session.applied.seq)) {
                    // Either way there is something to apply.
                    let _ = self.shared.pause(STEP_WAIT);
                }
            }
        }
    }

    /// In a burst the time goes to those who acknowledge, as long as patience lasts, unless the
    /// projection would be too far behind or a reader waits for it. `head_before` was the head at
    /// `counted_since`.
    fn pause_in_burst(
        &self,
        session: &mut StoreSession,
        mut head_before: Seq,
        mut counted_since: Instant,
    ) {
        loop {
            let head = self.shared.head();
            let inserted = head - head_before;
            // As many again may come before the next look.
            let lags_too_far =
                head - session.applied.seq + inserted >= self.options.burst_lag_records_max;
            let pause = session.budget.left().min(BURST_CHECK_INTERVAL);
            let is_burst =
                is_burst(inserted, counted_since.elapsed(), self.options.burst_records_per_second);
            if lags_too_far || pause.is_zero() || !is_burst {
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

    /// The milestone that is still to be written.
    fn unwritten_progress(&self, session: &StoreSession) -> Option<ProgressFile> {
        let progress_file = ProgressFile { applied: session.applied, ..session.progress_file };
        let opens_in_background = progress_file.replayed() > self.options.replayed_records_max;
        (opens_in_background && progress_file != session.progress_file).then_some(progress_file)
    }

    /// As [`ProjectionThread::note`], once the last milestone is old.
    fn write_progress_if_due(&self, session: &mut StoreSession) {
        let is_due = session
            .progress_written
            .is_none_or(|progress_written| progress_written.elapsed() >= PROGRESS_FILE_AGE_MAX);
        if is_due {
            self.write_progress(session);
        }
    }

    /// Writes down how far the store is, when it has come so far that the next start will not wait
    /// for it. Without that it waits, and that is all.
    fn write_progress(&self, session: &mut StoreSession) {
        let Some(progress_file) = self.unwritten_progress(session) else { return };
        (session.progress_file, session.progress_written) = (progress_file, Some(Instant::now()));
        let (dir, generation) = (self.directory.path(), self.directory.generation());
        if let Err(error) = session.progress_file.write(dir, generation, self.log_id) {
            tracing::debug!(%error, "no milestone is written; the next start opens the history first");
            // An old one would say less than there is.
            if let Err(error) = progress_file::remove(dir) {
                tracing::warn!(%error, "an old milestone stays");
            }
        }
    }

    /// The store tells of records that the log had not when it was opened. The log may have grown
    /// past them since, so the next starts are told by a file.
    fn report_data_loss(&self, applied: Seq, head: Seq) {
        let dir = self.directory.path();
        // Without it the next start opens the store first.
        let removed = progress_file::remove(dir);
        if let Err(error) = data_loss::write(dir, applied, head).and(removed) {
            tracing::error!(%error, "the loss cannot be written down: do not start again");
        }
        self.shared.report_data_loss();
        self.shared.fail(data_loss::sentence(applied, head));
    }

    /// Whether to go on.
    fn check_session(&self, session: &StoreSession) -> Result<(), SessionEnd> {
        if self.shared.is_stopped() {
            return Err(SessionEnd::Stopped);
        }
        session.store.fault().map_or(Ok(()), |fault| Err(session.end_for(fault)))
    }

    /// Tells readers how far the store is, and lets them in when a new one is far enough.
    fn publish_status(&self, session: &mut StoreSession) {
        let (seq, head) = (session.applied.seq, self.shared.head());
        if session.readable_at.is_some_and(|head| seq >= head) {
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

/// Whether so many records in so long are a burst.
fn is_burst(records: u64, elapsed: Duration, per_second: u64) -> bool {
    u128::from(records) * Duration::from_secs(1).as_nanos()
        >= u128::from(per_second) * elapsed.max(BURST_CHECK_INTERVAL).as_nanos()
}

pub fn unreadable(error: JournalError) -> SessionEnd {
    SessionEnd::Failed(format!("the journal cannot be read: {error}"))
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

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
use crate::projection::follow::session::{Session, SessionEnd};
use crate::projection::open::begin::{OpenedStore, StartingPoint};
use crate::projection::open::directory::StoreDirectory;
use crate::projection::open::progress_file::ProgressFile;
use crate::projection::open::{data_loss, progress_file};
use crate::projection::status::{FollowPhase, PauseEnd, SharedStatus, Status};
use crate::record::Seq;

/// Most stored bytes that one read of the journal asks for. Of each record only leaf, meta and place
/// are held.
pub const STEP_BYTES_MAX: usize = 4 << 20;

/// How long the thread waits for the journal at most; stopping and doubt end the wait.
const IDLE_WAIT: Duration = Duration::from_secs(1);

/// How long a short step waits for more, as long as no reader waits for it. A record costs less
/// in a step of a thousand than alone, and this thread takes its time from the one that
/// acknowledges. Nothing that was promised waits for it.
const REST: Duration = Duration::from_millis(50);

/// A burst lasts for so long at least, after which a rest looks whether it is over.
const BURST_LOOK: Duration = Duration::from_millis(20);

/// Further behind than this the projection is catching up: about 1 s of work beside a full load.
pub const LAG_RECORDS_MAX: u64 = 50_000;

/// How old a milestone may be while records are applied: sled syncs as often, so that it is as good a
/// witness of the log. Under test one is always old.
const PROGRESS_FILE_AGE_MAX: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 500 });

/// Most stores that are set aside in one run. Sound hardware needs none; a machine that damages
/// every store would fill the disk with them.
const ASIDES_MAX: u32 = 5;

/// The thread's own state.
pub struct ProjectionThread {
    pub shared: Arc<SharedStatus>,
    pub directory: StoreDirectory,
    pub log_id: Uuid,
    pub options: ProjectionOptions,
    pub alive: mpsc::Sender<()>,
    /// Where the journal ended at the start, before anything was appended, until there is a store:
    /// one of an earlier process that is ahead of that proves that the journal has lost something.
    pub head_before: Option<Seq>,
    /// A store that had to be opened before the log was.
    pub opened: Option<OpenedStore>,
}

impl ProjectionThread {
    /// Runs until the projection is closed, or nothing helps any more.
    pub fn run(mut self, mut start: StartingPoint) {
        let mut asides = 0;
        loop {
            if let StartingPoint::Doubt(reason) = &start {
                asides += 1;
                if asides > ASIDES_MAX {
                    let reason = format!("{reason}; {ASIDES_MAX} stores were set aside already");
                    return self.shared.fail(reason);
                }
                tracing::warn!(%reason, "the projection is moved aside and rebuilt");
            }
            let Err(end) = self.begin(start).and_then(|life| self.live(life));
            self.shared.withdraw();
            match end {
                SessionEnd::Doubt(reason) => start = StartingPoint::Doubt(reason),
                SessionEnd::Final(reason) => return self.shared.fail(reason),
                SessionEnd::Lost { applied, head } => return self.accuse(applied, head),
                SessionEnd::NoSpace(left) => start = StartingPoint::NoSpace(left),
                SessionEnd::Stopped => return self.shared.close(),
            }
        }
    }

    fn live(&self, mut life: Session) -> Result<Infallible, SessionEnd> {
        let ended = self.keep_up(&mut life);
        if matches!(ended, Err(SessionEnd::Stopped)) {
            self.note(&mut life);
        }
        ended
    }

    fn keep_up(&self, life: &mut Session) -> Result<Infallible, SessionEnd> {
        let mut follower = self.shared.reader().follow(life.applied.seq);
        loop {
            let read = follower.next_located(STEP_BYTES_MAX);
            let records = read.map_err(unreadable)?;
            for records in records.chunks(STEP_RECORDS_MAX) {
                self.check(life)?;
                let (began, head) = (Instant::now(), self.shared.head());
                let Session { store, pointers, applied, .. } = life;
                let step = apply::step(store, pointers, self.log_id, *applied, records);
                life.applied = step.map_err(|fault| life.left(fault))?;
                if let Some(scrub) = &mut life.scrub {
                    scrub.stepped(records);
                }
                self.note_in_time(life);
                self.tell(life);
                // Clients are refused until the walk is over, or the store is built.
                if life.scrub.is_none() && life.unread_until.is_none() {
                    self.give_way(life, head, began);
                }
            }
            self.check(life)?;
            let scrubbed = life.scrub()?;
            if records.is_empty() {
                self.note_in_time(life);
                self.tell(life);
                // The walk takes at most half of a core.
                let idle_wait = self.due(life).map_or(IDLE_WAIT, |_| PROGRESS_FILE_AGE_MAX);
                let wait = scrubbed.unwrap_or(idle_wait);
                let began = Instant::now();
                let head = self.shared.reader().wait_past(life.applied.seq, wait);
                life.patience.recover(began.elapsed());
                if (1..STEP_RECORDS_MAX as u64).contains(&(head - life.applied.seq)) {
                    // Either way there is something to apply.
                    let _ = self.shared.rest(REST);
                }
            }
        }
    }

    /// In a burst the time goes to those who acknowledge, as long as patience lasts, unless the
    /// projection would be too far behind or a reader waits for it. `before` was the head at
    /// `since`.
    fn give_way(&self, life: &mut Session, mut before: Seq, mut since: Instant) {
        loop {
            let head = self.shared.head();
            let inserted = head - before;
            // As many again may come before the next look.
            let is_far = head - life.applied.seq + inserted >= self.options.give_way_records_max;
            let rest = life.patience.left().min(BURST_LOOK);
            let is_burst = is_burst(inserted, since.elapsed(), self.options.burst_per_second);
            if is_far || rest.is_zero() || !is_burst {
                return;
            }
            (before, since) = (head, Instant::now());
            let rested = self.shared.rest(rest);
            life.patience.spend(since.elapsed());
            self.note_in_time(life);
            self.tell(life);
            if rested == PauseEnd::Ended {
                return;
            }
        }
    }

    /// The milestone that is still to be written.
    fn due(&self, life: &Session) -> Option<ProgressFile> {
        let progress_file = ProgressFile { applied: life.applied, ..life.progress_file };
        let is_late = progress_file.replayed() > self.options.replayed_records_max;
        (is_late && progress_file != life.progress_file).then_some(progress_file)
    }

    /// As [`ProjectionThread::note`], once the last milestone is old.
    fn note_in_time(&self, life: &mut Session) {
        let is_old = life.noted.is_none_or(|noted| noted.elapsed() >= PROGRESS_FILE_AGE_MAX);
        if is_old {
            self.note(life);
        }
    }

    /// Writes down how far the store is, when it has come so far that the next start will not wait
    /// for it. Without that it waits, and that is all.
    fn note(&self, life: &mut Session) {
        let Some(progress_file) = self.due(life) else { return };
        (life.progress_file, life.noted) = (progress_file, Some(Instant::now()));
        let (dir, generation) = self.directory.place();
        if let Err(error) = life.progress_file.write(dir, generation, self.log_id) {
            tracing::debug!(%error, "no milestone is written; the next start opens the history first");
            // An old one would say less than there is.
            if let Err(error) = progress_file::remove(dir) {
                tracing::warn!(%error, "an old milestone stays");
            }
        }
    }

    /// The store tells of records that the log had not when it was opened. The log may have grown
    /// past them since, so the next starts are told by a file.
    fn accuse(&self, applied: Seq, head: Seq) {
        let dir = self.directory.place().0;
        // Without it the next start opens the store first.
        let removed = progress_file::remove(dir);
        if let Err(error) = data_loss::write(dir, applied, head).and(removed) {
            tracing::error!(%error, "the loss cannot be written down: do not start again");
        }
        self.shared.accuse();
        self.shared.fail(data_loss::sentence(applied, head));
    }

    /// Whether to go on.
    fn check(&self, life: &Session) -> Result<(), SessionEnd> {
        if self.shared.is_stopped() {
            return Err(SessionEnd::Stopped);
        }
        life.store.doubt().map_or(Ok(()), |fault| Err(life.end(fault)))
    }

    /// Tells readers how far the store is, and lets them in when a new one is far enough.
    fn tell(&self, life: &mut Session) {
        let (seq, head) = (life.applied.seq, self.shared.head());
        if life.unread_until.is_some_and(|head| seq >= head) {
            life.unread_until = None;
            self.shared.publish(&life.store);
        }
        let lag = head.saturating_sub(seq);
        let phase = match self.shared.status().phase {
            _ if life.unread_until.is_some() && life.is_new => FollowPhase::Rebuilding,
            _ if life.unread_until.is_some() => FollowPhase::Opening,
            FollowPhase::Ready if lag <= LAG_RECORDS_MAX => FollowPhase::Ready,
            _ if lag == 0 => FollowPhase::Ready,
            _ => FollowPhase::CatchingUp,
        };
        if phase != FollowPhase::Ready
            && let Some(progress) = &mut life.progress
        {
            progress.at(seq, head);
        } else if let Some(progress) = life.progress.take() {
            progress.end(seq);
        }
        let ids_complete = life.store.ids_complete() && life.unread_until.is_none();
        let applied = seq.max(life.told);
        self.shared.tell(Status { applied, phase, ids_complete });
    }
}

/// Whether so many records in so long are a burst.
fn is_burst(records: u64, elapsed: Duration, per_second: u64) -> bool {
    u128::from(records) * Duration::from_secs(1).as_nanos()
        >= u128::from(per_second) * elapsed.max(BURST_LOOK).as_nanos()
}

pub fn unreadable(error: JournalError) -> SessionEnd {
    SessionEnd::Final(format!("the journal cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_inserts_that_come_together_are_no_burst() {
        let ms = Duration::from_millis;
        assert!(!is_burst(79, Duration::ZERO, 4_000));
        assert!(is_burst(80, Duration::ZERO, 4_000));
        assert!(is_burst(80, BURST_LOOK, 4_000));
        assert!(!is_burst(399, ms(100), 4_000));
        assert!(is_burst(400, ms(100), 4_000));
    }
}

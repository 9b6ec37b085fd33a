//! The one thread that writes the store: it follows the journal, and rebuilds what is in doubt.

use std::convert::Infallible;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::apply::{self, STEP_RECORDS_MAX};
use super::directory::Directory;
use super::life::{End, Left, Life};
use super::position::Applied;
use super::progress::Progress;
use super::scrub::{self, Scrub};
use super::shared::{Phase, Rest, Shared, Status};
use super::store::{self, Fault, Store};
use crate::journal::JournalError;
use crate::record::Seq;

/// Most stored bytes that one read of the journal asks for. Of each record only leaf, meta and place
/// are held.
const STEP_BYTES_MAX: usize = 4 << 20;

/// How long the thread waits for the journal at most; stopping and doubt end the wait.
const IDLE_WAIT: Duration = Duration::from_secs(1);

/// How long a short step waits for more, as long as no reader waits for it. A record costs a
/// third in a step of a thousand of what it costs alone, and this thread takes its time from the
/// one that acknowledges. Nothing that was promised waits for it.
const REST: Duration = Duration::from_millis(50);

/// A burst lasts for so long at least, after which a rest looks whether it is over.
const BURST_LOOK: Duration = Duration::from_millis(20);

/// Further behind than this the projection is catching up: about 1 s of work.
const LAG_RECORDS_MAX: u64 = 50_000;

/// Most stores that are set aside in one run. Sound hardware needs none; a machine that damages
/// every store would fill the disk with them.
const ASIDES_MAX: u32 = 5;

/// How long the thread waits before it tries again for want of space.
const SPACE_PAUSE: Duration = Duration::from_secs(1);

/// What the thread starts from.
pub(super) enum Start {
    /// A store that agrees with the journal.
    Applied(Store, Applied),
    /// There is something in the way that is no store, or is in doubt.
    Doubt(String),
    /// There is a store that nothing is said against, but no space to use it.
    NoSpace(Left),
    /// Nothing is there.
    Nothing,
}

/// The thread's own state.
pub(super) struct Follow {
    pub(super) shared: Arc<Shared>,
    pub(super) directory: Directory,
    pub(super) log_id: Uuid,
    pub(super) cache_bytes_max: u64,
    pub(super) give_way_records_max: u64,
    pub(super) burst_per_second: u64,
    pub(super) alive: mpsc::Sender<()>,
}

impl Follow {
    /// Runs until the projection is closed, or nothing helps any more.
    pub(super) fn run(mut self, mut start: Start) {
        let mut asides = 0;
        loop {
            if let Start::Doubt(reason) = &start {
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
                End::Doubt(reason) => start = Start::Doubt(reason),
                End::Final(reason) => return self.shared.fail(reason),
                End::NoSpace(left) => start = Start::NoSpace(left),
                End::Stopped => return self.shared.close(),
            }
        }
    }

    fn begin(&mut self, start: Start) -> Result<Life, End> {
        match start {
            Start::Applied(store, applied) => Ok(self.resume(store, applied)),
            Start::Doubt(_) => {
                self.tell_rebuilding();
                self.set_aside()?;
                self.rebuild()
            }
            Start::NoSpace(left) => self.reopen(left),
            Start::Nothing => {
                self.tell_rebuilding();
                self.rebuild()
            }
        }
    }

    /// Goes on with a store that may be read at once.
    fn resume(&self, store: Store, applied: Applied) -> Life {
        let life = self.opened(store, applied);
        self.shared.publish(&life.store);
        self.shared.tell(Status {
            applied: applied.seq,
            phase: Phase::CatchingUp,
            ids_complete: false,
        });
        life
    }

    /// Opens the store again where it lies and compares it with the journal. What readers saw
    /// applied may be lost to it, so they are let in when that is applied again.
    fn reopen(&self, left: Left) -> Result<Life, End> {
        self.shared.tell_reopening();
        self.pause()?;
        let (path, alive) = (self.directory.store(), self.alive.clone());
        let young = store::is_young(&path);
        let opened = Store::open(&path, self.cache_bytes_max, alive)
            .and_then(|store| Ok((scrub::verify(&store, self.log_id)?, store)));
        let (applied, store) = match opened {
            Ok((None, _)) if !young && left.applied.seq > 0 => {
                return Err(End::Doubt("it is empty".to_owned()));
            }
            Ok((applied, store)) => (applied.unwrap_or_default(), store),
            Err(fault) if fault.is_no_space() => return Err(End::NoSpace(left)),
            Err(fault) => return Err(End::Doubt(fault.to_string())),
        };
        self.compare(left.applied, applied)?;
        tracing::info!(applied = applied.seq, "the projection was opened again");
        let mut life = self.opened(store, applied);
        life.unread_until = Some(left.unread_until);
        life.told = self.shared.status().applied;
        Ok(life)
    }

    fn opened(&self, store: Store, applied: Applied) -> Life {
        let head = self.shared.head();
        let progress = (head - applied.seq > LAG_RECORDS_MAX)
            .then(|| Progress::new("bringing the projection up to date", applied.seq, head));
        let scrub = Some(Scrub::new());
        Life { applied, scrub, scrub_from: head, progress, ..Life::new(store) }
    }

    /// Whether the journal leads from one position to the other: `known` is right, and `found`
    /// is what the store that was opened again tells.
    fn compare(&self, known: Applied, found: Applied) -> Result<(), End> {
        if found.seq > self.shared.head() {
            return Err(End::Doubt("it is ahead of the journal".to_owned()));
        }
        let (mut low, high) = if known.seq < found.seq { (known, found) } else { (found, known) };
        let mut follower = self.shared.reader().follow(low.seq);
        while low.seq < high.seq {
            if self.shared.is_stopped() {
                return Err(End::Stopped);
            }
            let records = follower.next_located(STEP_BYTES_MAX).map_err(unreadable)?;
            if records.is_empty() {
                return Err(End::Final("the journal ends before its head".to_owned()));
            }
            let upto = records.partition_point(|located| located.seq <= high.seq);
            low = records[..upto].iter().fold(low, |position, located| position.after(located));
        }
        if low == high {
            Ok(())
        } else {
            Err(End::Doubt("it was derived from other records than the journal's".to_owned()))
        }
    }

    fn tell_rebuilding(&self) {
        self.shared.tell(Status { applied: 0, phase: Phase::Rebuilding, ids_complete: false });
    }

    fn set_aside(&mut self) -> Result<(), End> {
        let aside = self.until_space(|follow| Ok(follow.directory.set_aside()?))?;
        if let Some(aside) = aside {
            tracing::warn!(kept_at = %aside.display(), "the old projection was kept");
        }
        Ok(())
    }

    fn rebuild(&mut self) -> Result<Life, End> {
        let store = self.until_space(Self::create)?;
        store.confirm_ids();
        let head = self.shared.head();
        let progress = (head > 0).then(|| Progress::new("rebuilding the projection", 0, head));
        Ok(Life { unread_until: Some(head), is_new: true, progress, ..Life::new(store) })
    }

    /// A new store. What is left of one that found no space is nobody's.
    fn create(&mut self) -> Result<Store, Fault> {
        let (path, alive) = (self.directory.store(), self.alive.clone());
        let created = Store::open(&path, self.cache_bytes_max, alive).and_then(|store| {
            let is_empty = store.is_empty()?;
            is_empty.then_some(store).ok_or(Fault::Doubt("a new store is not empty"))
        });
        if created.as_ref().is_err_and(Fault::is_no_space) {
            self.directory.discard();
        }
        created
    }

    /// Tries again, with pauses, until there is space for it.
    fn until_space<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, End> {
        loop {
            match attempt(self) {
                Ok(done) => return Ok(done),
                Err(fault) if fault.is_no_space() => {
                    tracing::warn!(%fault, "there is no space to rebuild the projection");
                    self.pause()?;
                }
                Err(fault) => return Err(End::Final(format!("cannot be rebuilt: {fault}"))),
            }
        }
    }

    /// Gives whoever looks after the disk some time.
    fn pause(&self) -> Result<(), End> {
        self.shared.pause(SPACE_PAUSE);
        if self.shared.is_stopped() { Err(End::Stopped) } else { Ok(()) }
    }

    fn live(&self, mut life: Life) -> Result<Infallible, End> {
        let mut follower = self.shared.reader().follow(life.applied.seq);
        loop {
            let read = follower.next_located(STEP_BYTES_MAX);
            let records = read.map_err(unreadable)?;
            for records in records.chunks(STEP_RECORDS_MAX) {
                self.check(&life)?;
                let (began, head) = (Instant::now(), self.shared.head());
                let Life { store, pointers, applied, .. } = &mut life;
                let step = apply::step(store, pointers, self.log_id, *applied, records);
                life.applied = step.map_err(|fault| life.left(fault))?;
                if let Some(scrub) = &mut life.scrub {
                    scrub.stepped(records);
                }
                self.tell(&mut life);
                // Clients are refused until the walk is over, or the store is built.
                if life.scrub.is_none() && life.unread_until.is_none() {
                    self.give_way(&mut life, head, began);
                }
            }
            self.check(&life)?;
            let scrubbed = life.scrub()?;
            if records.is_empty() {
                self.tell(&mut life);
                // The walk takes at most half of a core.
                let wait = scrubbed.unwrap_or(IDLE_WAIT);
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
    fn give_way(&self, life: &mut Life, mut before: Seq, mut since: Instant) {
        loop {
            let head = self.shared.head();
            let inserted = head - before;
            // As many again may come before the next look.
            let is_far = head - life.applied.seq + inserted >= self.give_way_records_max;
            let rest = life.patience.left().min(BURST_LOOK);
            let is_burst = is_burst(inserted, since.elapsed(), self.burst_per_second);
            if is_far || rest.is_zero() || !is_burst {
                return;
            }
            (before, since) = (head, Instant::now());
            let rested = self.shared.rest(rest);
            life.patience.spend(since.elapsed());
            self.tell(life);
            if rested == Rest::Ended {
                return;
            }
        }
    }

    /// Whether to go on.
    fn check(&self, life: &Life) -> Result<(), End> {
        if self.shared.is_stopped() {
            return Err(End::Stopped);
        }
        life.store.doubt().map_or(Ok(()), |fault| Err(life.end(fault)))
    }

    /// Tells readers how far the store is, and lets them in when a new one is far enough.
    fn tell(&self, life: &mut Life) {
        let (seq, head) = (life.applied.seq, self.shared.head());
        if life.unread_until.is_some_and(|head| seq >= head) {
            life.unread_until = None;
            self.shared.publish(&life.store);
        }
        let lag = head.saturating_sub(seq);
        let phase = match self.shared.status().phase {
            _ if life.unread_until.is_some() => Phase::Rebuilding,
            Phase::Ready if lag <= LAG_RECORDS_MAX => Phase::Ready,
            _ if lag == 0 => Phase::Ready,
            _ => Phase::CatchingUp,
        };
        if phase != Phase::Ready
            && let Some(progress) = &mut life.progress
        {
            progress.at(seq, head);
        } else if let Some(progress) = life.progress.take() {
            progress.end(seq);
        }
        let ids_complete = life.store.ids_complete() && phase != Phase::Rebuilding;
        let applied = seq.max(life.told);
        self.shared.tell(Status { applied, phase, ids_complete });
    }
}

/// Whether so many records in so long are a burst.
fn is_burst(records: u64, elapsed: Duration, per_second: u64) -> bool {
    u128::from(records) * Duration::from_secs(1).as_nanos()
        >= u128::from(per_second) * elapsed.max(BURST_LOOK).as_nanos()
}

fn unreadable(error: JournalError) -> End {
    End::Final(format!("the journal cannot be read: {error}"))
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

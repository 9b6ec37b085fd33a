//! The one thread that writes the store: it follows the journal, and rebuilds what is in doubt.

use std::convert::Infallible;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::apply::{self, STEP_RECORDS_MAX};
use super::directory::Directory;
use super::keys::Applied;
use super::patience::Patience;
use super::progress::Progress;
use super::scrub::Scrub;
use super::shared::{Phase, Shared, Status};
use super::store::{Fault, Store};
use crate::journal::JournalError;
use crate::record::Seq;

/// Most stored bytes that one read of the journal asks for, which bounds the memory of a step:
/// records, batch and sled's copy are three times this.
const STEP_BYTES_MAX: usize = 4 << 20;

/// How long the thread waits for the journal at most; stopping and doubt end the wait.
const IDLE_WAIT: Duration = Duration::from_secs(1);

/// How long a short step waits for more, as long as no reader waits for it. A record costs a
/// third in a step of a thousand of what it costs alone, and this thread takes its time from the
/// one that acknowledges. Nothing that was promised waits for it.
const REST: Duration = Duration::from_millis(50);

/// A burst is when this part of a step, or more, is inserted while the step is applied.
const BURST_PART: u64 = 8;

/// Further behind than this the projection is catching up: about 3 s of work.
const LAG_RECORDS_MAX: u64 = 50_000;

/// Most stores that are set aside in one run. Sound hardware needs none; a machine that damages
/// every store would fill the disk with them.
const ASIDES_MAX: u32 = 5;

/// What the thread starts from.
pub(super) enum Start {
    /// A store that agrees with the journal.
    Applied(Store, Applied),
    /// There is something in the way that is no store, or is in doubt.
    Doubt(String),
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
    pub(super) alive: mpsc::Sender<()>,
}

/// Why a store was left.
enum End {
    /// It cannot be trusted; the next one may.
    Doubt(String),
    /// The journal cannot be read, or a new store cannot be built: nothing helps.
    Final(String),
    /// The projection was closed.
    Stopped,
}

/// One store while it is followed up.
struct Life {
    store: Arc<Store>,
    applied: Applied,
    /// What is left to prove of a store that was opened.
    scrub: Option<Scrub>,
    /// The head that a new store must reach before it is read.
    unread_until: Option<Seq>,
    progress: Option<Progress>,
    patience: Patience,
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
            let life = match self.begin(start) {
                Ok(life) => life,
                Err(fault) => return self.shared.fail(format!("cannot be rebuilt: {fault}")),
            };
            let Err(end) = self.live(life);
            self.shared.withdraw();
            match end {
                End::Doubt(reason) => start = Start::Doubt(reason),
                End::Final(reason) => return self.shared.fail(reason),
                End::Stopped => return self.shared.close(),
            }
        }
    }

    fn begin(&mut self, start: Start) -> Result<Life, Fault> {
        let head = self.shared.head();
        if let Start::Applied(store, applied) = start {
            let lag = head - applied.seq;
            let progress = (lag > LAG_RECORDS_MAX)
                .then(|| Progress::new("bringing the projection up to date", applied.seq, head));
            let (store, scrub) = (Arc::new(store), Scrub::new(applied.seq));
            self.shared.publish(&store);
            self.shared.tell(Status {
                applied: applied.seq,
                phase: Phase::CatchingUp,
                ids_complete: false,
            });
            let patience = Patience::new(Instant::now());
            return Ok(Life {
                store,
                applied,
                scrub: Some(scrub),
                unread_until: None,
                progress,
                patience,
            });
        }
        self.shared.tell(Status { applied: 0, phase: Phase::Rebuilding, ids_complete: false });
        if let Start::Doubt(_) = start
            && let Some(aside) = self.directory.set_aside()?
        {
            tracing::warn!(kept_at = %aside.display(), "the old projection was kept");
        }
        let (path, alive) = (self.directory.store(), self.alive.clone());
        let store = Arc::new(Store::open(&path, self.cache_bytes_max, alive)?);
        if !store.is_empty()? {
            return Err(Fault::Doubt("a new store is not empty"));
        }
        store.confirm_ids();
        let progress = (head > 0).then(|| Progress::new("rebuilding the projection", 0, head));
        let applied = Applied::default();
        let patience = Patience::new(Instant::now());
        Ok(Life { store, applied, scrub: None, unread_until: Some(head), progress, patience })
    }

    fn live(&self, mut life: Life) -> Result<Infallible, End> {
        let mut follower = self.shared.reader().follow(life.applied.seq);
        loop {
            let read = follower.next(STEP_BYTES_MAX);
            let records = read.map_err(|error: JournalError| {
                End::Final(format!("the journal cannot be read: {error}"))
            })?;
            for records in records.chunks(STEP_RECORDS_MAX) {
                self.check(&life)?;
                let (began, head) = (Instant::now(), self.shared.head());
                let step = apply::step(&life.store, self.log_id, life.applied, records);
                life.applied = step.map_err(|fault| life.left(&fault))?;
                self.tell(&mut life);
                self.give_way(&mut life, records.len() as u64, head, began.elapsed());
            }
            self.check(&life)?;
            let scrubbed = life.scrub()?;
            if records.is_empty() {
                self.tell(&mut life);
                // The walk takes at most half of a core.
                let wait = scrubbed.unwrap_or(IDLE_WAIT);
                let head = self.shared.reader().wait_past(life.applied.seq, wait);
                if (1..STEP_RECORDS_MAX as u64).contains(&(head - life.applied.seq)) {
                    self.shared.rest(REST);
                }
            }
        }
    }

    /// In a burst the time goes to those who acknowledge, until the projection is far behind.
    fn give_way(&self, life: &mut Life, applied: u64, head_before: Seq, took: Duration) {
        let head = self.shared.head();
        let is_burst = applied == STEP_RECORDS_MAX as u64
            && head - head_before >= applied / BURST_PART
            && head - life.applied.seq < self.give_way_records_max;
        if is_burst {
            let began = Instant::now();
            self.shared.rest(life.patience.rest_after(took, began));
            life.patience.spend(began.elapsed());
        }
    }

    /// Whether to go on.
    fn check(&self, life: &Life) -> Result<(), End> {
        if self.shared.is_stopped() {
            return Err(End::Stopped);
        }
        life.store.doubt().map_or(Ok(()), |reason| Err(End::Doubt(reason.to_owned())))
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
        self.shared.tell(Status { applied: seq, phase, ids_complete });
    }
}

impl Life {
    /// Walks a slice of the scrub, and tells how long that took.
    fn scrub(&mut self) -> Result<Option<Duration>, End> {
        let Some(scrub) = &mut self.scrub else { return Ok(None) };
        let began = Instant::now();
        let scrubbed = scrub.slice(&self.store);
        if scrubbed.map_err(|fault| self.left(&fault))? {
            tracing::debug!("the projection is complete");
            self.store.confirm_ids();
            self.scrub = None;
            return Ok(None);
        }
        Ok(Some(began.elapsed()))
    }

    /// What to do about a fault of this store: a new one that fails already is not tried again.
    fn left(&self, fault: &Fault) -> End {
        self.store.raise_doubt(fault);
        if self.unread_until.is_some() {
            End::Final(format!("rebuilding failed: {fault}"))
        } else {
            End::Doubt(fault.to_string())
        }
    }
}

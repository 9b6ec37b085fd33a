//! Begins a session: continues a store, opens it again, or rebuilds it.

use std::time::Duration;

use crate::projection::follow::ProjectionThread;
use crate::projection::follow::apply::STEP_BYTES_MAX;
use crate::projection::follow::progress::ProgressDisplay;
use crate::projection::follow::session::{SessionEnd, StoreSession};
use crate::projection::open::opened_store::{OpenedStore, location_mismatch};
use crate::projection::open::progress_file;
use crate::projection::open::progress_file::ProgressFile;
use crate::projection::open::scrub::IdScrub;
use crate::projection::open::starting_point::{PausedStore, StartingPoint};
use crate::projection::status::{FollowPhase, LAG_RECORDS_MAX, ProjectionStatus};
use crate::projection::store::position::Applied;
use crate::projection::store::{Store, StoreFault};

/// How long the thread waits before it tries again when the disk was full.
const SPACE_RETRY_DELAY: Duration = Duration::from_secs(1);

impl ProjectionThread {
    pub fn begin(&mut self, start: StartingPoint) -> Result<StoreSession, SessionEnd> {
        match start {
            StartingPoint::Applied(store, applied) => Ok(self.resume_session(store, applied)),
            StartingPoint::Invalid(_) => {
                self.publish_rebuilding();
                self.quarantine_store()?;
                self.rebuild_session()
            }
            StartingPoint::OpenInBackground(paused) => {
                self.shared.publish_opening(paused.applied.seq);
                self.open_session(paused)
            }
            StartingPoint::NoSpace(paused) => {
                self.shared.publish_opening(paused.applied.seq);
                self.wait_for_space()?;
                self.open_session(paused)
            }
            StartingPoint::Nothing => {
                self.publish_rebuilding();
                self.rebuild_session()
            }
        }
    }

    /// Continues with a store that may be read at once.
    fn resume_session(&mut self, store: Store, applied: Applied) -> StoreSession {
        let session = self.new_session(store, applied);
        self.shared.publish_store(&session.store);
        self.shared.publish_status(ProjectionStatus {
            applied: applied.seq,
            phase: FollowPhase::CatchingUp,
            ids_complete: false,
        });
        session
    }

    /// Opens the store where it is and compares it with the journal. It may have lost records that
    /// readers saw or that the progress file counts, so it is readable once those are applied
    /// again.
    fn open_session(&mut self, paused: PausedStore) -> Result<StoreSession, SessionEnd> {
        let opened = self.opened.take().unwrap_or_else(|| {
            let cache_bytes_max = self.options.cache_bytes_max;
            OpenedStore::open(&self.directory, self.log_id, cache_bytes_max, self.alive.clone())
        });
        // Another process may use the directory by now.
        if self.shared.is_stopped() {
            return Err(SessionEnd::Stopped);
        }
        let (applied, store) = match opened.found {
            Ok((None, _)) if !opened.was_in_first_segment && paused.applied.seq > 0 => {
                return Err(SessionEnd::Invalid("it is empty".to_owned()));
            }
            Ok((applied, store)) => (applied.unwrap_or_default(), store),
            Err(fault) => return Err(open_failed(&fault, paused)),
        };
        self.compare_chains(paused.applied, applied)?;
        match location_mismatch(&store, &applied, self.shared.reader()) {
            Ok(None) => {}
            Ok(Some(mismatch)) => return Err(SessionEnd::Invalid(mismatch)),
            Err(fault) => return Err(open_failed(&fault, paused)),
        }
        tracing::info!(applied = applied.seq, "the projection was opened");
        let mut session = self.new_session(store, applied);
        session.readable_at = Some(paused.readable_at);
        session.published = self.shared.status().applied;
        Ok(session)
    }

    fn new_session(&mut self, store: Store, applied: Applied) -> StoreSession {
        self.start_head = None;
        // The next open only has to replay what is written from now on.
        if let Err(error) = progress_file::remove(self.directory.path()) {
            tracing::warn!(%error, "the progress file cannot be removed; the next start uses it");
        }
        let head = self.shared.head();
        let progress = (head - applied.seq > LAG_RECORDS_MAX)
            .then(|| ProgressDisplay::new("bringing the projection up to date", applied.seq, head));
        let scrub = Some(IdScrub::new());
        let progress_file = ProgressFile { opened_at: applied.seq, applied };
        StoreSession {
            applied,
            scrub,
            scrub_from: head,
            progress,
            progress_file,
            ..StoreSession::new(store)
        }
    }

    /// Checks that the journal leads from one position to the other: `known` agrees with the
    /// journal, and `found` is the position in the opened store.
    fn compare_chains(&self, known: Applied, found: Applied) -> Result<(), SessionEnd> {
        let head = self.start_head.unwrap_or_else(|| self.shared.head());
        if found.seq > head {
            return Err(SessionEnd::DataLoss { applied: found.seq, head });
        }
        let (mut low, high) = if known.seq < found.seq { (known, found) } else { (found, known) };
        let mut follower = self.shared.reader().follow(low.seq);
        while low.seq < high.seq {
            if self.shared.is_stopped() {
                return Err(SessionEnd::Stopped);
            }
            let records = follower.next_located(STEP_BYTES_MAX)?;
            if records.is_empty() {
                return Err(SessionEnd::Failed("the journal ends before its head".to_owned()));
            }
            let upto = records.partition_point(|located| located.seq() <= high.seq);
            low = records[..upto].iter().fold(low, |position, located| position.after(located));
        }
        if low == high {
            return Ok(());
        }
        // Up to the position in its progress file the store was derived from this log.
        if self.start_head.is_some() && (1..found.seq).contains(&known.seq) {
            return Err(SessionEnd::DataLoss { applied: found.seq, head });
        }
        Err(SessionEnd::Invalid("it was derived from other records than the journal's".to_owned()))
    }

    fn publish_rebuilding(&self) {
        self.shared.publish_status(ProjectionStatus {
            applied: 0,
            phase: FollowPhase::Rebuilding,
            ids_complete: false,
        });
    }

    fn quarantine_store(&mut self) -> Result<(), SessionEnd> {
        let kept_at = self.retry_until_space(|follow| Ok(follow.directory.quarantine()?))?;
        if let Some(kept_at) = kept_at {
            tracing::warn!(kept_at = %kept_at.display(), "the old projection was kept");
        }
        Ok(())
    }

    fn rebuild_session(&mut self) -> Result<StoreSession, SessionEnd> {
        let store = self.retry_until_space(Self::create_store)?;
        self.start_head = None;
        store.confirm_ids();
        let head = self.shared.head();
        let progress =
            (head > 0).then(|| ProgressDisplay::new("rebuilding the projection", 0, head));
        Ok(StoreSession {
            readable_at: Some(head),
            is_new: true,
            progress,
            ..StoreSession::new(store)
        })
    }

    /// Creates a store. If the disk is full, removes what there is of it.
    fn create_store(&mut self) -> Result<Store, StoreFault> {
        let (path, alive) = (self.directory.store(), self.alive.clone());
        let created = Store::open(&path, self.options.cache_bytes_max, alive).and_then(|store| {
            let is_empty = store.is_empty()?;
            is_empty.then_some(store).ok_or(StoreFault::Invalid("a new store is not empty"))
        });
        if created.as_ref().is_err_and(StoreFault::is_no_space) {
            self.directory.discard();
        }
        created
    }

    /// Repeats `attempt`, with pauses, until there is space for it.
    fn retry_until_space<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> Result<T, StoreFault>,
    ) -> Result<T, SessionEnd> {
        loop {
            match attempt(self) {
                Ok(done) => return Ok(done),
                Err(fault) if fault.is_no_space() => {
                    tracing::warn!(%fault, "there is no space to rebuild the projection");
                    self.wait_for_space()?;
                }
                Err(fault) => {
                    return Err(SessionEnd::Failed(format!("cannot be rebuilt: {fault}")));
                }
            }
        }
    }

    /// Waits before the next attempt.
    fn wait_for_space(&self) -> Result<(), SessionEnd> {
        self.shared.wait_to_retry(SPACE_RETRY_DELAY);
        if self.shared.is_stopped() { Err(SessionEnd::Stopped) } else { Ok(()) }
    }
}

/// How a session ends when its store cannot be opened. A full disk, or an earlier handle that has
/// not released the files, does not invalidate the store.
fn open_failed(fault: &StoreFault, paused: PausedStore) -> SessionEnd {
    if fault.is_no_space() || matches!(fault, StoreFault::Held) {
        tracing::warn!(%fault, "the projection cannot be opened yet; trying again");
        SessionEnd::NoSpace(paused)
    } else {
        SessionEnd::Invalid(fault.to_string())
    }
}

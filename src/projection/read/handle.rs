//! The readers' side: the state of the projection, and reads that are right or refused.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use uuid::Uuid;

use crate::projection::read;
use crate::projection::read::unavailable::Unavailable;
use crate::projection::read::{IdLookup, NamePage, PageQuery, ReadRefusal, StoreView};
use crate::projection::status::{FollowPhase, ProjectionStatus, SharedStatus};
use crate::projection::store::versions::Pointer;
use crate::record::{Identity, Record, Seq, Timestamp, Version};

/// How long closing waits for sled, whose last flush can hang forever.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Reads the projection from any thread; cheap to clone. The projection stops when the last clone
/// is dropped.
#[derive(Clone)]
pub struct ProjectionHandle(Arc<HandleOwner>);

/// The state of the projection, for readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProjectionState {
    /// Its answers are right but old; reads that wait for a position may time out.
    CatchingUp {
        /// Seq of the last record applied.
        applied: Seq,
        /// Seq of the last durable record.
        head: Seq,
    },
    /// It was closed.
    Closed,
    /// It cannot be built; nothing can be read until the process is restarted.
    Failed(String),
    /// It is being opened, in the background after a long run, or again after the disk was full;
    /// nothing can be read until that is done.
    Opening {
        /// Seq of the last record that is known to be applied.
        applied: Seq,
        /// Seq of the last durable record.
        head: Seq,
    },
    /// It is at the head of the journal, or close behind.
    Ready,
    /// It is being rebuilt; nothing can be read until that is done.
    Rebuilding {
        /// Seq of the last record applied.
        applied: Seq,
        /// Seq of the last durable record.
        head: Seq,
    },
}

/// Stops the projection thread when the last handle is dropped.
struct HandleOwner {
    shared: Arc<SharedStatus>,
    /// Disconnected when the thread has ended and every store is closed.
    alive: Mutex<mpsc::Receiver<()>>,
}

impl ProjectionHandle {
    pub fn new(shared: Arc<SharedStatus>, alive: mpsc::Receiver<()>) -> Self {
        Self(Arc::new(HandleOwner { shared, alive: Mutex::new(alive) }))
    }

    /// Seq of the last record applied.
    #[must_use]
    pub fn applied(&self) -> Seq {
        self.0.shared.status().applied
    }

    /// Number of durable records that are not applied yet.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let applied = self.applied();
        self.0.shared.head().saturating_sub(applied)
    }

    /// The state of the projection.
    #[must_use]
    pub fn state(&self) -> ProjectionState {
        let ProjectionStatus { applied, phase, .. } = self.0.shared.status();
        let head = self.0.shared.head().max(applied);
        match phase {
            FollowPhase::CatchingUp => ProjectionState::CatchingUp { applied, head },
            FollowPhase::Closed => ProjectionState::Closed,
            FollowPhase::Failed(reason) => ProjectionState::Failed(reason.to_string()),
            FollowPhase::Opening => ProjectionState::Opening { applied, head },
            FollowPhase::Ready => ProjectionState::Ready,
            FollowPhase::Rebuilding => ProjectionState::Rebuilding { applied, head },
        }
    }

    /// Whether the store was ahead of where the journal ended when this process opened it:
    /// acknowledged records are missing, and nothing more may be acknowledged.
    #[must_use]
    pub fn reports_data_loss(&self) -> bool {
        self.0.shared.reports_data_loss()
    }

    /// Whether an id that is not found is known to be absent.
    #[must_use]
    pub fn ids_complete(&self) -> bool {
        self.0.shared.status().ids_complete
    }

    /// Waits until the record `seq` can be read.
    ///
    /// # Errors
    /// [`Unavailable`] when it cannot `within` that time, or ever.
    pub async fn reached(&self, seq: Seq, within: Duration) -> Result<(), Unavailable> {
        let _waiting = self.0.shared.register_waiting();
        let mut status = self.0.shared.subscribe();
        let reached = status.wait_for(|status| match status.phase {
            FollowPhase::CatchingUp | FollowPhase::Ready => status.applied >= seq,
            FollowPhase::Closed | FollowPhase::Failed(_) => true,
            FollowPhase::Opening | FollowPhase::Rebuilding => false,
        });
        let phase = match tokio::time::timeout(within, reached).await {
            Ok(Ok(status)) => status.phase.clone(),
            Ok(Err(_)) => FollowPhase::Closed,
            Err(_) => {
                return Err(match self.0.shared.status().phase {
                    FollowPhase::Opening => Unavailable::Opening,
                    FollowPhase::Rebuilding => Unavailable::Rebuilding,
                    _ => Unavailable::Behind { applied: self.applied(), wanted: seq },
                });
            }
        };
        match phase {
            FollowPhase::Closed => Err(Unavailable::Closed),
            FollowPhase::Failed(_) => Err(Unavailable::Failed),
            FollowPhase::CatchingUp
            | FollowPhase::Opening
            | FollowPhase::Ready
            | FollowPhase::Rebuilding => Ok(()),
        }
    }

    /// The summary of an identity: its latest version, count and times. Blocks.
    ///
    /// # Errors
    /// [`Unavailable`], as every read.
    pub fn latest(&self, identity: &Identity) -> Result<Option<Pointer>, Unavailable> {
        self.read(|view| read::latest(view, identity))
    }

    /// Consecutive versions of an identity. Blocks.
    ///
    /// The answer is shorter than `limit` where the versions end and where the records, as stored,
    /// exceed [`PAGE_BYTES_MAX`](read::PAGE_BYTES_MAX); it is empty only when there is nothing in
    /// the range.
    ///
    /// # Errors
    /// [`Unavailable`], as every read.
    pub fn page(&self, identity: &Identity, query: &PageQuery) -> Result<Vec<Record>, Unavailable> {
        self.read(|view| read::page(view, identity, query))
    }

    /// The latest version that is not later than `time`. Blocks.
    ///
    /// # Errors
    /// [`Unavailable`], as every read.
    pub fn version_at(
        &self,
        identity: &Identity,
        time: Timestamp,
    ) -> Result<Option<Version>, Unavailable> {
        self.read(|view| read::version_at(view, identity, time))
    }

    /// The oldest version that is not earlier than `time`. Blocks.
    ///
    /// # Errors
    /// [`Unavailable`], as every read.
    pub fn first_version_since(
        &self,
        identity: &Identity,
        time: Timestamp,
    ) -> Result<Option<Version>, Unavailable> {
        self.read(|view| read::first_version_since(view, identity, time))
    }

    /// At most `limit` identities after `after`, names of system records included. Blocks.
    ///
    /// A call scans no more than [`NAMES_SCANNED_MAX`](read::NAMES_SCANNED_MAX) of them, so it may
    /// find none though more follow: continue while there is a `next`.
    ///
    /// # Errors
    /// [`Unavailable`], as every read.
    pub fn names(
        &self,
        after: Option<&Identity>,
        limit: usize,
        filter: impl Fn(&Identity) -> bool,
    ) -> Result<NamePage, Unavailable> {
        self.read(|view| read::names(view, after, limit, filter))
    }

    /// The applied record with this id. An id that encodes its location has to be looked up in the
    /// log instead. Blocks.
    ///
    /// # Errors
    /// [`Unavailable`], as every read.
    pub fn by_id(&self, id: &Uuid) -> Result<IdLookup, Unavailable> {
        self.read(|view| read::by_id(view, id))
    }

    /// Stops following and closes the store, for every clone. Blocks for 3 s at most: what sled did
    /// not write by then is applied again after the next open.
    pub fn close(self) {
        self.0.shared.stop();
        let alive = self.0.alive.lock().expect("no code panics while it waits for the thread");
        if alive.recv_timeout(CLOSE_TIMEOUT) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!(
                "sled did not close in time; the projection catches up at the next start"
            );
        }
    }

    #[cfg(test)]
    pub fn shared(&self) -> &SharedStatus {
        &self.0.shared
    }

    fn read<T>(
        &self,
        read: impl FnOnce(StoreView<'_>) -> Result<T, ReadRefusal>,
    ) -> Result<T, Unavailable> {
        let store = self.0.shared.readable()?;
        match read(StoreView { store: &store, log: self.0.shared.reader() }) {
            Ok(answer) if store.fault().is_none() => Ok(answer),
            Ok(_) => Err(Unavailable::Invalid),
            // A rebuilt index would point to the same location.
            Err(ReadRefusal::Log(error)) => {
                tracing::error!(%error, "a record of the log cannot be read");
                Err(Unavailable::Damaged)
            }
            Err(ReadRefusal::Index(fault)) => {
                store.invalidate(fault);
                self.0.shared.wake();
                Err(Unavailable::Invalid)
            }
        }
    }
}

impl Drop for HandleOwner {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

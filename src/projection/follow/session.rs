//! One store while it is followed: its position, the checks that are left, and how its failure is
//! handled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::journal::JournalError;
use crate::projection::follow::budget::PauseBudget;
use crate::projection::follow::pointers::Pointers;
use crate::projection::follow::progress::ProgressDisplay;
use crate::projection::open::progress_file::ProgressFile;
use crate::projection::open::scrub::IdScrub;
use crate::projection::open::starting_point::PausedStore;
use crate::projection::store::position::Applied;
use crate::projection::store::{Store, StoreFault};
use crate::record::Seq;

/// One store while it is followed.
pub struct StoreSession {
    pub store: Arc<Store>,
    pub applied: Applied,
    pub pointers: Pointers,
    /// The scan of ids that is left to do for a store that was opened.
    pub scrub: Option<IdScrub>,
    /// The scrub waits until this seq, the head at the open, is applied: until then the id of a
    /// record may be known nowhere else, and must not count as absent.
    pub scrub_from: Seq,
    /// Seq at which the store becomes readable; `None` once it is. For a new store that is the
    /// head, for a reopened one the position that readers have seen.
    pub readable_at: Option<Seq>,
    /// The position that readers have seen; it does not move back.
    pub published: Seq,
    /// Whether it was built from nothing in this session.
    pub is_new: bool,
    pub progress: Option<ProgressDisplay>,
    /// The last one written; before that, the position at the open.
    pub progress_file: ProgressFile,
    /// When it was written.
    pub progress_written: Option<Instant>,
    pub budget: PauseBudget,
}

/// Why a session ended.
pub enum SessionEnd {
    /// The store cannot be trusted, and is to be rebuilt.
    Invalid(String),
    /// The journal cannot be read, or a new store cannot be built: trying again does not help.
    Failed(String),
    /// The store shows that the log has lost acknowledged records.
    DataLoss {
        /// The position of the store.
        applied: Seq,
        /// Where the log ended.
        head: Seq,
    },
    /// The disk was full, or an earlier handle holds the store. It can be opened again where it is.
    NoSpace(PausedStore),
    /// The projection was closed.
    Stopped,
}

impl From<JournalError> for SessionEnd {
    fn from(error: JournalError) -> Self {
        Self::Failed(format!("the journal cannot be read: {error}"))
    }
}

impl StoreSession {
    pub fn new(store: Store) -> Self {
        Self {
            store: Arc::new(store),
            applied: Applied::default(),
            pointers: Pointers::default(),
            scrub: None,
            scrub_from: 0,
            readable_at: None,
            published: 0,
            is_new: false,
            progress: None,
            progress_file: ProgressFile::default(),
            progress_written: None,
            budget: PauseBudget::new(),
        }
    }

    /// Scans a slice of the ids, and returns how long that took; `None` if there is nothing to
    /// scan.
    pub fn scrub_slice(&mut self) -> Result<Option<Duration>, SessionEnd> {
        let Some(scrub) = &mut self.scrub else { return Ok(None) };
        if self.applied.seq < self.scrub_from {
            return Ok(None);
        }
        let began = Instant::now();
        let scrubbed = scrub.scan_slice(&self.store, &self.applied);
        if scrubbed.map_err(|fault| self.invalidate(fault))? {
            tracing::debug!("the id index is complete");
            self.store.confirm_ids();
            self.scrub = None;
            return Ok(None);
        }
        Ok(Some(began.elapsed()))
    }

    /// Invalidates the store and ends the session.
    pub fn invalidate(&self, fault: StoreFault) -> SessionEnd {
        self.store.invalidate(fault);
        self.end_for(self.store.fault().expect("it was just invalidated"))
    }

    /// How the session ends after a fault of its store. A rebuild that fails is not tried again.
    pub fn end_for(&self, fault: &StoreFault) -> SessionEnd {
        if fault.is_no_space() {
            let readable_at = self.readable_at.unwrap_or(self.applied.seq).max(self.published);
            SessionEnd::NoSpace(PausedStore { applied: self.applied, readable_at })
        } else if self.is_new && self.readable_at.is_some() {
            SessionEnd::Failed(format!("rebuilding failed: {fault}"))
        } else {
            SessionEnd::Invalid(fault.to_string())
        }
    }
}

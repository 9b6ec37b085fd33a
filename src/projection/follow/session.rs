//! One store while it is followed up: how far it is, what is left to prove of it, and what becomes
//! of it when it fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::projection::follow::budget::PauseBudget;
use crate::projection::follow::pointers::Pointers;
use crate::projection::follow::progress::ProgressDisplay;
use crate::projection::open::progress_file::ProgressFile;
use crate::projection::open::scrub::IdScrub;
use crate::projection::store::position::Applied;
use crate::projection::store::{Store, StoreFault};
use crate::record::Seq;

/// One store while it is followed up.
pub struct StoreSession {
    pub store: Arc<Store>,
    pub applied: Applied,
    pub pointers: Pointers,
    /// What is left to prove of a store that was opened.
    pub scrub: Option<IdScrub>,
    /// The walk waits until this is applied, the head at the open: an id of a record up to there may
    /// be in no other memory, so it must not count as absent before.
    pub scrub_from: Seq,
    /// What a store must reach before it is read: the head for a new one, what readers were told
    /// of for one that was opened again.
    pub readable_at: Option<Seq>,
    /// The position that readers were told of already: it does not fall.
    pub published: Seq,
    /// Whether it was built from nothing in this life.
    pub is_new: bool,
    pub progress: Option<ProgressDisplay>,
    /// The last one that was written; before that, where the store was opened.
    pub progress_file: ProgressFile,
    /// When it was written.
    pub progress_written: Option<Instant>,
    pub budget: PauseBudget,
}

/// Why a store was left.
pub enum SessionEnd {
    /// It cannot be trusted; the next one may.
    Invalid(String),
    /// The journal cannot be read, or a new store cannot be built: nothing helps.
    Failed(String),
    /// The store proves that the log has lost records that were acknowledged.
    DataLoss {
        /// What the store was applied up to.
        applied: Seq,
        /// Where the log ended.
        head: Seq,
    },
    /// There was no space, or an earlier handle holds it. It can be opened again where it lies.
    NoSpace(PausedStore),
    /// The projection was closed.
    Stopped,
}

/// What is known of a store that was left for want of space, or was not opened yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct PausedStore {
    /// A position that agrees with the journal, which the store may have missed or passed.
    pub applied: Applied,
    /// Where it may be read again: nothing that readers were told of may be missing.
    pub readable_at: Seq,
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

    /// Walks a slice of the scrub, and tells how long that took.
    pub fn scrub_slice(&mut self) -> Result<Option<Duration>, SessionEnd> {
        let Some(scrub) = &mut self.scrub else { return Ok(None) };
        if self.applied.seq < self.scrub_from {
            return Ok(None);
        }
        let began = Instant::now();
        let scrubbed = scrub.scan_slice(&self.store, &self.applied);
        if scrubbed.map_err(|fault| self.invalidate(fault))? {
            tracing::debug!("the index of ids is complete");
            self.store.confirm_ids();
            self.scrub = None;
            return Ok(None);
        }
        Ok(Some(began.elapsed()))
    }

    /// Leaves the store for a fault.
    pub fn invalidate(&self, fault: StoreFault) -> SessionEnd {
        self.store.invalidate(fault);
        self.end_for(self.store.fault().expect("it was raised"))
    }

    /// What to do about a fault of this store: a new one that fails already is not tried again.
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

//! The projection: an index into the log, in sled: history by event and version, and records by
//! those ids that do not name their place in the log themselves.
//!
//! **Owns** the directory `projection`, the layout of its one tree, and the one thread that
//! follows the journal and applies what is durable, in large steps.
//!
//! **Promises** that a read is whole and right as of the applied position, or refused. sled can
//! lose entries and still open cleanly, so nothing is believed for being there: a store is
//! compared with itself and the journal when it is opened, every value is checked when it is
//! read, and so is the record that it leads to; an id that is not found counts as absent only
//! after a walk through the index of ids.
//! At any doubt the directory is moved aside, never deleted, and built anew from the journal;
//! until that is done readers are told that nothing can be read. A store that takes long to open is
//! opened beside the serving, by its milestone. A full disk is not doubt: the
//! store stays where it is, and is opened and compared again, once a second, until there is
//! space. A record that is damaged in the log is not doubt either: it is refused, and the rest is
//! read.
//!
//! **Does not** hold records, nor stand behind any promise of durability: an acknowledgement never waits for it and
//! it never flushes sled. What a crash takes from it is applied again. It knows nothing of
//! requests and subscriptions, and does not decide who may read what.
//!
//! What an operator's commands ask, whether it is what the log makes of it, is answered by `compare`.
//!
//! ```text
//! journal ──follow──► apply, one batch a step ──► store (sled) ◄── read ◄── handle
//!    ▲                   ▲                          │               │
//!    │                   └── directory: aside ◄── doubt (open, …)   │
//!    └────────────────────── a record by its place ◄────────────────┘
//! ```

mod follow;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod open;
mod read;
mod status;
mod store;

#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;

use uuid::Uuid;

pub use open::data_loss::{DataLoss, refuse_data_loss};
pub use read::compare::{Comparison, compare, position};
pub use read::handle::{ProjectionHandle, ProjectionState, Unavailable};
pub use read::{IdLookup, NamePage, PageQuery};
pub use store::position::Applied;
pub use store::versions::Pointer;

use crate::journal::Reader;
use crate::projection::follow::ProjectionThread;
use crate::projection::follow::session::PausedStore;
use crate::projection::open::begin;
use crate::projection::open::begin::{OpenedStore, StartingPoint};
use crate::projection::open::directory::{DirectoryContents, StoreDirectory};
use crate::projection::open::progress_file::ProgressFile;
use crate::projection::status::SharedStatus;
use crate::record::Seq;

/// What an operator may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProjectionOptions {
    /// Bytes of pages that sled keeps in memory.
    pub cache_bytes_max: u64,
    /// How many records it may fall behind in order to leave the processor to a burst of inserts.
    pub burst_lag_records_max: u64,
    /// So many records a second are a burst.
    pub burst_records_per_second: u64,
    /// How many records sled may have to read back for an open that a start waits for: 0.1 s a
    /// million. After more it is opened beside the serving.
    pub replayed_records_max: u64,
}

impl Default for ProjectionOptions {
    fn default() -> Self {
        Self {
            cache_bytes_max: 64 << 20,
            burst_lag_records_max: 1_000_000,
            // Their inserts take a tenth of a core.
            burst_records_per_second: 4_000,
            replayed_records_max: 500_000,
        }
    }
}

/// A projection that was looked at, and opened if that is done soon, and does not follow the journal
/// yet.
pub struct Projection {
    directory: StoreDirectory,
    log_id: Uuid,
    options: ProjectionOptions,
    start: StartingPoint,
    /// The store of [`StartingPoint::OpenInBackground`], when it had to be opened at once.
    opened: OnceCell<OpenedStore>,
    alive: (mpsc::Sender<()>, mpsc::Receiver<()>),
}

impl Projection {
    /// Opens what is in `dir`, which only this process may use, and compares it with itself; or
    /// goes by its milestone for now, if that would take long ([`ProjectionOptions::replayed_records_max`]).
    ///
    /// It never fails: what cannot be opened, or is not the projection of the log `log_id`, is
    /// moved aside and rebuilt after [`Projection::start`].
    #[must_use]
    pub fn open(dir: &Path, log_id: Uuid, options: ProjectionOptions) -> Self {
        let alive = mpsc::channel();
        let (directory, contents) = StoreDirectory::inspect(dir);
        let start = match contents {
            DirectoryContents::Foreign => {
                StartingPoint::Invalid("the directory holds something else".to_owned())
            }
            DirectoryContents::Nothing => StartingPoint::Nothing,
            DirectoryContents::Store => {
                match paused_at_progress_file(&directory, log_id, options.replayed_records_max) {
                    Some(paused) => StartingPoint::OpenInBackground(paused),
                    None => open_now(&directory, log_id, &options, alive.0.clone()),
                }
            }
        };
        Self { directory, log_id, options, start, opened: OnceCell::new(), alive }
    }

    /// Moves what is in `dir`, if anything, aside, and tells where to: after [`Projection::start`]
    /// it is built anew.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn recreate(
        dir: &Path,
        log_id: Uuid,
        options: ProjectionOptions,
    ) -> io::Result<(Self, Option<PathBuf>)> {
        let (mut directory, contents) = StoreDirectory::inspect(dir);
        let kept_at = match contents {
            DirectoryContents::Foreign | DirectoryContents::Store => directory.quarantine()?,
            DirectoryContents::Nothing => None,
        };
        let (start, alive) = (StartingPoint::Nothing, mpsc::channel());
        let opened = OnceCell::new();
        Ok((Self { directory, log_id, options, start, opened, alive }, kept_at))
    }

    /// How far the projection had come; nothing when it is to be rebuilt.
    ///
    /// The journal can take it for a proof that this many records were durable once.
    #[must_use]
    pub fn applied(&self) -> Option<Applied> {
        match &self.start {
            StartingPoint::Applied(_, applied)
            | StartingPoint::OpenInBackground(PausedStore { applied, .. }) => Some(*applied),
            StartingPoint::Invalid(_) | StartingPoint::NoSpace(_) | StartingPoint::Nothing => None,
        }
    }

    /// How far the projection really is, where [`Projection::applied`] may tell less: opens a store
    /// that was to be opened beside the serving, which may take seconds.
    #[must_use]
    pub fn confirm_applied(&self) -> Seq {
        let known = self.applied().map_or(0, |applied| applied.seq);
        let StartingPoint::OpenInBackground(_) = self.start else { return known };
        let opened = self.opened.get_or_init(|| {
            tracing::warn!(
                "the log does not end whole at its mark, so the history is opened first"
            );
            OpenedStore::open(&self.directory, self.log_id, &self.options, self.alive.0.clone())
        });
        opened.applied().map_or(known, |applied| applied.seq.max(known))
    }

    /// Begins to follow the journal, on a thread of its own.
    ///
    /// `agrees` tells whether the journal's chain at the applied position is the same; if not,
    /// the projection is rebuilt.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(self, reader: Reader, agrees: bool) -> io::Result<ProjectionHandle> {
        let Self { directory, log_id, options, start, opened, alive: (alive, closed) } = self;
        let start = match start {
            StartingPoint::Applied(_, applied) if applied.seq > reader.durable() => {
                StartingPoint::Invalid("it is ahead of the journal".to_owned())
            }
            StartingPoint::Applied(..) | StartingPoint::OpenInBackground(_) if !agrees => {
                StartingPoint::Invalid(
                    "it was derived from other records than the journal's".to_owned(),
                )
            }
            StartingPoint::Applied(store, applied) => {
                match begin::location_mismatch(&store, &applied, &reader) {
                    Ok(None) => StartingPoint::Applied(store, applied),
                    Ok(Some(mismatch)) => StartingPoint::Invalid(mismatch),
                    Err(fault) if fault.is_no_space() => {
                        StartingPoint::NoSpace(PausedStore { applied, readable_at: applied.seq })
                    }
                    Err(fault) => StartingPoint::Invalid(fault.to_string()),
                }
            }
            start => start,
        };
        let opened =
            opened.into_inner().filter(|_| matches!(start, StartingPoint::OpenInBackground(_)));
        let shared = Arc::new(SharedStatus::new(reader));
        let start_head = Some(shared.head());
        let shared_by_thread = Arc::clone(&shared);
        let follow = ProjectionThread {
            shared: shared_by_thread,
            directory,
            log_id,
            options,
            alive,
            start_head,
            opened,
        };
        let handle = ProjectionHandle::new(Arc::clone(&shared), closed);
        thread::Builder::new().name("projection".to_owned()).spawn(move || {
            // Readers must not wait for a thread that is gone.
            if catch_unwind(AssertUnwindSafe(|| follow.run(start))).is_err() {
                shared.fail("its thread panicked".to_owned());
            }
        })?;
        Ok(handle)
    }
}

/// What the milestone says of a store that takes long to open; nothing, when none tells so.
fn paused_at_progress_file(
    directory: &StoreDirectory,
    log_id: Uuid,
    replayed_records_max: u64,
) -> Option<PausedStore> {
    let progress_file = ProgressFile::read(directory.path(), directory.generation(), log_id)?;
    let applied = progress_file.applied;
    (progress_file.replayed() > replayed_records_max)
        .then_some(PausedStore { applied, readable_at: applied.seq })
}

/// Opens a store and makes the load-time check.
fn open_now(
    directory: &StoreDirectory,
    log_id: Uuid,
    options: &ProjectionOptions,
    alive: mpsc::Sender<()>,
) -> StartingPoint {
    let unwritten = store::is_unwritten(&directory.store());
    match OpenedStore::open(directory, log_id, options, alive).found {
        Ok((Some(applied), store)) => StartingPoint::Applied(store, applied),
        // The process ended before sled first wrote: there is nothing to keep aside.
        Ok((None, _)) if unwritten => StartingPoint::Nothing,
        Ok((None, _)) => StartingPoint::Invalid("it is empty".to_owned()),
        Err(fault) if fault.is_no_space() => StartingPoint::NoSpace(PausedStore::default()),
        Err(fault) => StartingPoint::Invalid(fault.to_string()),
    }
}

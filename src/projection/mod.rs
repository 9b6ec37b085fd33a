//! The projection: an index of the log in sled. It finds history by event and version, and records
//! by those ids that do not encode their location in the log.
//!
//! **Owns** the directory `projection`, the layout of its one sled tree, and the one thread that
//! follows the journal and applies durable records in large steps.
//!
//! **Promises** that a read is complete and correct as of the applied position, or refused. sled
//! can lose entries and still open cleanly, so an entry is never trusted unchecked: a store is
//! checked against itself and the journal when it is opened, each value and the record it points to
//! are checked when they are read, and an id that is not found counts as absent only after a scan
//! of the whole id index.
//!
//! A store that fails a check is quarantined, never deleted, and rebuilt from the journal; until
//! that is done, reads are refused. A store that takes long to open is opened in the background
//! while the server runs, and its progress file gives the position in the meantime. A full disk
//! does not invalidate a store: it stays where it is, and is reopened and checked again once a
//! second until there is space. Neither does a record that is damaged in the log: only reads of
//! that record are refused.
//!
//! **Does not** hold records or back any promise of durability: no acknowledgement waits for it,
//! and it never flushes sled. Whatever it loses in a crash is applied again. It knows nothing of
//! requests and subscriptions, and does not decide who may read what.
//!
//! For an operator's commands, `compare` checks a projection against the log.
//!
//! ```text
//! journal ──follow──► apply, one batch a step ──► store (sled) ◄── read ◄── handle
//!    ▲                   ▲                          │               │
//!    │                   └─ quarantine, rebuild ◄── invalid         │
//!    └───────────────── a record by its location ◄──────────────────┘
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

/// Settings of a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProjectionOptions {
    /// Bytes of pages that sled keeps in memory.
    pub cache_bytes_max: u64,
    /// Maximum lag, in records, that pauses during a burst of inserts may cause.
    pub burst_lag_records_max: u64,
    /// Inserted records a second that count as a burst.
    pub burst_records_per_second: u64,
    /// Maximum number of records that sled may have to replay while a start waits for the open:
    /// 0.1 s a million. Beyond it the store is opened in the background.
    pub replayed_records_max: u64,
}

impl Default for ProjectionOptions {
    fn default() -> Self {
        Self {
            cache_bytes_max: 64 << 20,
            burst_lag_records_max: 1_000_000,
            // Inserts at this rate take a tenth of a core.
            burst_records_per_second: 4_000,
            replayed_records_max: 500_000,
        }
    }
}

/// A projection that was inspected, and opened unless that would take long. It does not follow the
/// journal yet.
pub struct Projection {
    directory: StoreDirectory,
    log_id: Uuid,
    options: ProjectionOptions,
    start: StartingPoint,
    /// The store of [`StartingPoint::OpenInBackground`], if it had to be opened at once.
    opened: OnceCell<OpenedStore>,
    alive: (mpsc::Sender<()>, mpsc::Receiver<()>),
}

impl Projection {
    /// Opens the projection in `dir`, which no other process may use, and checks it against itself.
    /// If that would take long ([`ProjectionOptions::replayed_records_max`]), only its progress
    /// file is read.
    ///
    /// Never fails: a projection that cannot be opened, or that is not of the log `log_id`, is
    /// quarantined and rebuilt after [`Projection::start`].
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
                match background_position(&directory, log_id, options.replayed_records_max) {
                    Some(paused) => StartingPoint::OpenInBackground(paused),
                    None => open_now(&directory, log_id, &options, alive.0.clone()),
                }
            }
        };
        Self { directory, log_id, options, start, opened: OnceCell::new(), alive }
    }

    /// Quarantines the content of `dir`, if there is any, and returns where it is kept.
    /// [`Projection::start`] then rebuilds the projection.
    ///
    /// # Errors
    /// When the directory cannot be moved.
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

    /// The applied position; `None` when the projection is to be rebuilt.
    ///
    /// It is evidence for the journal that the records up to there were durable.
    #[must_use]
    pub fn applied(&self) -> Option<Applied> {
        match &self.start {
            StartingPoint::Applied(_, applied)
            | StartingPoint::OpenInBackground(PausedStore { applied, .. }) => Some(*applied),
            StartingPoint::Invalid(_) | StartingPoint::NoSpace(_) | StartingPoint::Nothing => None,
        }
    }

    /// Seq of the last record in the store, which may be after that of [`Projection::applied`].
    /// Opens a store that was to be opened in the background, which may take seconds.
    #[must_use]
    pub fn confirm_applied(&self) -> Seq {
        let known = self.applied().map_or(0, |applied| applied.seq);
        let StartingPoint::OpenInBackground(_) = self.start else { return known };
        let opened = self.opened.get_or_init(|| {
            tracing::warn!(
                "the log does not end whole at its watermark, so the history is opened first"
            );
            OpenedStore::open(&self.directory, self.log_id, &self.options, self.alive.0.clone())
        });
        opened.applied().map_or(known, |applied| applied.seq.max(known))
    }

    /// Starts to follow the journal, on a thread of its own.
    ///
    /// `agrees` is whether the journal has the same chain digest at the applied position; if not,
    /// the projection is rebuilt.
    ///
    /// # Errors
    /// When the thread cannot be started.
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
            // Readers must not wait for a thread that has ended.
            if catch_unwind(AssertUnwindSafe(|| follow.run(start))).is_err() {
                shared.fail("its thread panicked".to_owned());
            }
        })?;
        Ok(handle)
    }
}

/// The position in the progress file, if the store would take long to open.
fn background_position(
    directory: &StoreDirectory,
    log_id: Uuid,
    replayed_records_max: u64,
) -> Option<PausedStore> {
    let progress_file = ProgressFile::read(directory.path(), directory.generation(), log_id)?;
    let applied = progress_file.applied;
    (progress_file.replayed() > replayed_records_max)
        .then_some(PausedStore { applied, readable_at: applied.seq })
}

/// Opens a store at once and checks it against itself.
fn open_now(
    directory: &StoreDirectory,
    log_id: Uuid,
    options: &ProjectionOptions,
    alive: mpsc::Sender<()>,
) -> StartingPoint {
    let unwritten = store::is_unwritten(&directory.store());
    match OpenedStore::open(directory, log_id, options, alive).found {
        Ok((Some(applied), store)) => StartingPoint::Applied(store, applied),
        // The process ended before sled first wrote: there is nothing to quarantine.
        Ok((None, _)) if unwritten => StartingPoint::Nothing,
        Ok((None, _)) => StartingPoint::Invalid("it is empty".to_owned()),
        Err(fault) if fault.is_no_space() => StartingPoint::NoSpace(PausedStore::default()),
        Err(fault) => StartingPoint::Invalid(fault.to_string()),
    }
}

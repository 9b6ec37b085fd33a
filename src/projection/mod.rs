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
mod options;
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
pub use options::ProjectionOptions;
pub use read::compare::{Comparison, compare, position};
pub use read::handle::{ProjectionHandle, ProjectionState};
pub use read::unavailable::Unavailable;
pub use read::{IdLookup, NamePage, PageQuery};
pub use store::position::Applied;
pub use store::versions::Pointer;

use crate::journal::Reader;
use crate::projection::follow::ProjectionThread;
use crate::projection::open::directory::{DirectoryContents, StoreDirectory};
use crate::projection::open::opened_store::OpenedStore;
use crate::projection::open::starting_point::StartingPoint;
use crate::projection::status::SharedStatus;
use crate::record::Seq;

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
        let start = StartingPoint::find(&directory, &contents, log_id, &options, alive.0.clone());
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
        self.start.applied()
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
            let alive = self.alive.0.clone();
            OpenedStore::open(&self.directory, self.log_id, self.options.cache_bytes_max, alive)
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
        let start = start.checked(&reader, agrees);
        let opened =
            opened.into_inner().filter(|_| matches!(start, StartingPoint::OpenInBackground(_)));
        let shared = Arc::new(SharedStatus::new(reader));
        let start_head = Some(shared.head());
        let follow = ProjectionThread {
            shared: Arc::clone(&shared),
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

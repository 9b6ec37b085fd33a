//! What a session begins with: a store, or the reason to rebuild it.

use std::sync::mpsc;

use uuid::Uuid;

use crate::journal::Reader;
use crate::projection::open::directory::{DirectoryContents, StoreDirectory};
use crate::projection::open::opened_store::{OpenedStore, location_mismatch};
use crate::projection::open::progress_file::ProgressFile;
use crate::projection::options::ProjectionOptions;
use crate::projection::store::Store;
use crate::projection::store::position::Applied;
use crate::record::Seq;

/// What a session begins with.
pub enum StartingPoint {
    /// A store that agrees with the journal.
    Applied(Store, Applied),
    /// A store that takes long to open, and the position in its progress file, which agrees with
    /// the journal.
    OpenInBackground(PausedStore),
    /// The directory holds an invalid store or something else, for this reason.
    Invalid(String),
    /// A store that nothing is wrong with, but the disk is full or an earlier handle has not
    /// released it.
    NoSpace(PausedStore),
    /// There is no store.
    Nothing,
}

/// A store that was left because the disk was full, or that is not open yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct PausedStore {
    /// A position that agrees with the journal. The store may be behind or ahead of it.
    pub applied: Applied,
    /// Seq at which it becomes readable again: nothing that readers have seen may be missing.
    pub readable_at: Seq,
}

impl StartingPoint {
    /// The starting point in a directory. Opens a store and checks it against itself, unless its
    /// progress file says that it would take long to open.
    pub fn find(
        directory: &StoreDirectory,
        contents: &DirectoryContents,
        log_id: Uuid,
        options: &ProjectionOptions,
        alive: mpsc::Sender<()>,
    ) -> Self {
        match contents {
            DirectoryContents::Foreign => {
                Self::Invalid("the directory holds something else".to_owned())
            }
            DirectoryContents::Nothing => Self::Nothing,
            DirectoryContents::Store => {
                match background_position(directory, log_id, options.replayed_records_max) {
                    Some(paused) => Self::OpenInBackground(paused),
                    None => open_now(directory, log_id, options.cache_bytes_max, alive),
                }
            }
        }
    }

    /// The applied position; `None` when the projection is to be rebuilt.
    pub fn applied(&self) -> Option<Applied> {
        match self {
            Self::Applied(_, applied) | Self::OpenInBackground(PausedStore { applied, .. }) => {
                Some(*applied)
            }
            Self::Invalid(_) | Self::NoSpace(_) | Self::Nothing => None,
        }
    }

    /// Checks it against the journal, which has the same chain digest at the applied position if
    /// `agrees`.
    pub fn checked(self, log: &Reader, agrees: bool) -> Self {
        match self {
            Self::Applied(_, applied) if applied.seq > log.durable() => {
                Self::Invalid("it is ahead of the journal".to_owned())
            }
            Self::Applied(..) | Self::OpenInBackground(_) if !agrees => {
                Self::Invalid("it was derived from other records than the journal's".to_owned())
            }
            Self::Applied(store, applied) => match location_mismatch(&store, &applied, log) {
                Ok(None) => Self::Applied(store, applied),
                Ok(Some(mismatch)) => Self::Invalid(mismatch),
                Err(fault) if fault.is_no_space() => {
                    Self::NoSpace(PausedStore { applied, readable_at: applied.seq })
                }
                Err(fault) => Self::Invalid(fault.to_string()),
            },
            start => start,
        }
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

fn open_now(
    directory: &StoreDirectory,
    log_id: Uuid,
    cache_bytes_max: u64,
    alive: mpsc::Sender<()>,
) -> StartingPoint {
    let opened = OpenedStore::open(directory, log_id, cache_bytes_max, alive);
    match opened.found {
        Ok((Some(applied), store)) => StartingPoint::Applied(store, applied),
        // The process ended before sled first wrote: there is nothing to quarantine.
        Ok((None, _)) if opened.was_unwritten => StartingPoint::Nothing,
        Ok((None, _)) => StartingPoint::Invalid("it is empty".to_owned()),
        Err(fault) if fault.is_no_space() => StartingPoint::NoSpace(PausedStore::default()),
        Err(fault) => StartingPoint::Invalid(fault.to_string()),
    }
}

//! Opening a journal, and its snapshot, from a data directory.

use std::io;

use crate::audit::Digest;
use crate::journal::disk::Disk;
use crate::journal::error::JournalError;
use crate::journal::open::directory::DataDir;
use crate::journal::open::opened::{OpenContext, OpenedJournal};
use crate::journal::open::scan::RecordVisitor;
use crate::journal::open::snapshot::Snapshot;
use crate::journal::open::{recovery, snapshot};
use crate::journal::write::writer::{Journal, JournalOptions};
use crate::record::{RecordError, Seq, StoredRecord};

impl Journal {
    /// Reads the whole log, repairs what a crash may have left, and opens it for appending.
    ///
    /// A log that ends before `durable_seq_min` is damaged. `visit` sees every record in order,
    /// with the chain after it; its error ends the open. If the log turns out to be damaged,
    /// `visit` has already seen the records before the damage.
    ///
    /// # Errors
    /// [`JournalError`]: damage or an error of `visit`, after which nothing was changed, or an
    /// error of the system.
    pub fn open(
        dir: &DataDir,
        options: JournalOptions,
        durable_seq_min: Seq,
        visit: &mut dyn FnMut(&StoredRecord<'_>, &Digest) -> Result<(), RecordError>,
    ) -> Result<OpenedJournal, JournalError> {
        let context =
            OpenContext { durable_seq_min, confirm_durable: None, snapshot: None, read_from: 0 };
        Self::open_with(dir, options, &context, visit)
    }

    /// As [`Journal::open`], but with a snapshot only part of the log is read: `visit` sees the
    /// records from the segment that holds the snapshot's head, or [`OpenContext::read_from`] if
    /// that is earlier. The caller has visited the snapshot's own records.
    ///
    /// # Errors
    /// As [`Journal::open`]. A log that ends before the snapshot's head is damaged.
    pub fn open_with(
        dir: &DataDir,
        options: JournalOptions,
        context: &OpenContext<'_>,
        visit: &mut dyn FnMut(&StoredRecord<'_>, &Digest) -> Result<(), RecordError>,
    ) -> Result<OpenedJournal, JournalError> {
        let visit: &mut RecordVisitor<'_> = visit;
        recovery::open(dir, options, context, visit)
    }

    /// Reads the last snapshot of a log. One that cannot be used is logged and ignored.
    #[must_use]
    pub fn snapshot(dir: &DataDir) -> Option<Snapshot> {
        let path = snapshot::path(&dir.journal());
        Snapshot::read(&dir.journal(), dir.log_id()).unwrap_or_else(|reason| {
            let file = path.display();
            tracing::warn!(%file, reason, "the snapshot cannot be used; reading the whole log");
            None
        })
    }

    /// Removes the snapshot of a log, so that the next open reads the whole log.
    ///
    /// # Errors
    /// If the file cannot be removed or the directory cannot be synced.
    pub fn remove_snapshot(dir: &DataDir) -> io::Result<()> {
        let journal = dir.journal();
        let disk = Disk::default();
        match disk.remove(&snapshot::path(&journal)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        disk.sync_dir(&journal)
    }
}

//! Writes checkpoints, so that a start reads the end of the log only.
//!
//! A checkpoint is a replay: the newest after nothing, slice by slice, until the head is reached;
//! system records are in it, and of opens not only the newest.
//! Records that are superseded meanwhile stand in it twice, and the later one counts; so nobody
//! waits for it, and no copy of all newest values is made.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{debug, warn};

use crate::broker::lifecycle::worker::WorkerStop;
use crate::journal::{DataDir, Reader, SnapshotWriter};
use crate::record::Record;
use crate::subscription::Hub;
use crate::subscription::epochs::open_name;
use crate::subscription::latest::SliceLimits;

/// How often it is looked whether one is due: seldom enough to cost nothing.
const LOOK: Duration = Duration::from_millis(500);

/// A checkpoint is due when the log has grown by this many times the size of the last one, too:
/// that bounds what checkpoints cost to half of what the log costs.
const DUE_TIMES: u64 = 2;

/// What is looked at and copied out under the lock of the newest: about 0.1 ms.
const SLICE: SliceLimits = SliceLimits { examined_max: 1_024, bytes_max: 1 << 20 };

/// What checkpoints are made of.
pub struct Snapshots {
    pub hub: Arc<Hub>,
    pub reader: Reader,
    /// The records of all opens.
    pub opens: Vec<Arc<Record>>,
    /// How much the log grows at least between two.
    pub due_bytes: u64,
    /// Bytes of the log that the start had to read.
    pub bytes_read: u64,
    /// False when the log is known to be damaged: then nothing may stand for it any more.
    pub trusted: Arc<Mutex<bool>>,
    /// Locked as long as something may be written.
    pub _directory: Arc<DataDir>,
}

impl Snapshots {
    /// Writes one whenever it is due.
    pub fn run(self, rest: &WorkerStop) {
        let mut written_at = self.reader.bytes().saturating_sub(self.bytes_read);
        let mut due_bytes = self.due_bytes;
        loop {
            let bytes = self.reader.bytes();
            if bytes - written_at >= due_bytes {
                match self.write(SLICE, &mut || rest.rest(Duration::ZERO)) {
                    Ok(Some(size)) => {
                        due_bytes = self.due_bytes.max(size * DUE_TIMES);
                        debug!(bytes = size, "checkpoint written");
                    }
                    Ok(None) => return,
                    // The one before stays; a start reads more of the log, and that is all.
                    Err(error) => warn!(%error, "a checkpoint could not be written"),
                }
                written_at = bytes;
            }
            if !rest.rest(LOOK) {
                return;
            }
        }
    }

    /// Its size in bytes, unless the broker ended or the log was found damaged meanwhile. `go_on`
    /// is asked after each slice; records may be committed meanwhile.
    pub fn write(
        &self,
        limits: SliceLimits,
        go_on: &mut dyn FnMut() -> bool,
    ) -> io::Result<Option<u64>> {
        let mut writer = SnapshotWriter::begin(&self.reader)?;
        let open = open_name();
        let mut opens = self.opens.iter().peekable();
        let mut position = 0;
        loop {
            let slice = self.hub.with_latest(|latest| {
                latest.after(position, limits, |record| record.event() != &open)
            });
            for record in &slice.records {
                while let Some(open) = opens.next_if(|open| open.seq() < record.seq()) {
                    writer.push(open)?;
                }
                writer.push(record)?;
            }
            position = slice.position;
            if slice.complete {
                break;
            }
            if !go_on() {
                return Ok(None);
            }
        }
        for open in opens {
            writer.push(open)?;
        }
        let trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        if *trusted { writer.finish(position).map(Some) } else { Ok(None) }
    }
}

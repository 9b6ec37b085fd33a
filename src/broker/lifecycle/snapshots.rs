//! Writes snapshots of the latest records, so that a start reads only the end of the log.
//!
//! A snapshot is a replay: the latest records, slice by slice, until the head is reached. It holds
//! system records too, and the records of all opens. A record that is superseded meanwhile is in it
//! twice, and the later one counts; so inserts never wait for a snapshot, and no copy of all latest
//! records is made.

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

/// Time between two looks whether one is due: rare enough to cost nothing.
const LOOK: Duration = Duration::from_millis(500);

/// A snapshot is due only when the log has grown by twice the size of the last one, which bounds
/// the bytes of snapshots to half of the log's.
const DUE_TIMES: u64 = 2;

/// Records and bytes copied under one lock of the latest records: about 0.1 ms.
const SLICE: SliceLimits = SliceLimits { examined_max: 1_024, bytes_max: 1 << 20 };

/// What snapshots are made of.
pub struct Snapshots {
    pub hub: Arc<Hub>,
    pub reader: Reader,
    /// The records of all opens.
    pub opens: Vec<Arc<Record>>,
    /// Minimum growth of the log between two.
    pub due_bytes: u64,
    /// Bytes of the log that the start read.
    pub bytes_read: u64,
    /// False once the log is known to be damaged: then nothing may stand for it any more.
    pub trusted: Arc<Mutex<bool>>,
    /// Keeps the directory locked while something may be written.
    pub _directory: Arc<DataDir>,
}

impl Snapshots {
    /// Writes one whenever it is due.
    pub fn run(self, stop: &WorkerStop) {
        let mut written_at = self.reader.bytes().saturating_sub(self.bytes_read);
        let mut due_bytes = self.due_bytes;
        loop {
            let bytes = self.reader.bytes();
            if bytes - written_at >= due_bytes {
                match self.write(SLICE, &mut || stop.rest(Duration::ZERO)) {
                    Ok(Some(size)) => {
                        due_bytes = self.due_bytes.max(size * DUE_TIMES);
                        debug!(bytes = size, "snapshot written");
                    }
                    Ok(None) => return,
                    // The previous one stays, so the next start only reads more of the log.
                    Err(error) => warn!(%error, "a snapshot could not be written"),
                }
                written_at = bytes;
            }
            if !stop.rest(LOOK) {
                return;
            }
        }
    }

    /// Writes one and returns its size in bytes; none if the broker ended or the log was found
    /// damaged meanwhile. `go_on` is called after each slice; records may be committed meanwhile.
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

//! Verifies, in the background while serving, the segments that a start skipped.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::broker::lifecycle::worker::WorkerStop;
use crate::journal::{DataDir, Journal, JournalError, UnverifiedSegments};
use crate::order::FailStop;

/// It rests three times as long as reading the last segment took, so it uses at most a quarter of
/// one processor.
const REST_TIMES: u32 = 3;

/// Pause after a read that failed.
const PAUSE: Duration = Duration::from_secs(30);

/// How long the removal of a snapshot may take: a server whose disk hangs is gone within 11 s.
const FORGET_MAX: Duration = Duration::from_secs(2);

/// What is verified, and what is told of damage.
pub struct Verifier {
    pub segments: UnverifiedSegments,
    pub directory: Arc<DataDir>,
    /// See [`Snapshots::trusted`](crate::broker::lifecycle::snapshots::Snapshots::trusted).
    pub trusted: Arc<Mutex<bool>>,
    /// Records that are not verified yet.
    pub unverified: Arc<AtomicU64>,
    pub fail_stop: FailStop,
}

impl Verifier {
    /// Reads all segments. Damage ends the process, as it would have prevented the start; without
    /// a snapshot the next start finds it at once. An I/O error says nothing about the log, so it
    /// begins again later.
    pub fn run(self, stop: &WorkerStop) {
        let last_seq = self.segments.last_seq();
        loop {
            let mut began = Instant::now();
            let mut go_on = |verified| {
                self.unverified.store(last_seq - verified, Ordering::Relaxed);
                let goes_on = stop.rest(began.elapsed() * REST_TIMES);
                began = Instant::now();
                goes_on
            };
            match self.segments.verify(&mut go_on) {
                Ok(true) => {
                    self.unverified.store(0, Ordering::Relaxed);
                    info!(seq = last_seq, "the segments that the start skipped are verified");
                    return;
                }
                Ok(false) => return,
                Err(error @ (JournalError::Io { .. } | JournalError::InUse { .. })) => {
                    warn!(%error, "a segment that the start skipped cannot be read; trying later");
                    if !stop.rest(PAUSE) {
                        return;
                    }
                }
                Err(error) => return self.refuse(&error),
            }
        }
    }

    fn refuse(self, error: &JournalError) {
        error!(%error, "the log is damaged; nothing more is acknowledged");
        self.fail_stop.refuse();
        invalidate(self.trusted, self.directory, FORGET_MAX);
        self.fail_stop.fail();
    }
}

/// Removes the snapshot and prevents another one. A hung disk may hold the removal, or the snapshot
/// that is being written, forever; so it is waited for only this long.
fn invalidate(trusted: Arc<Mutex<bool>>, directory: Arc<DataDir>, wait_max: Duration) {
    let (report, forgotten) = mpsc::channel();
    let forget = move || {
        let mut trusted = trusted.lock().unwrap_or_else(PoisonError::into_inner);
        *trusted = false;
        // The caller may have given up.
        let _ = report.send(Journal::remove_snapshot(&directory));
    };
    let started = thread::Builder::new().name("invalidate".to_owned()).spawn(forget);
    let forgotten = started.and_then(|_| match forgotten.recv_timeout(wait_max) {
        Ok(forgotten) => forgotten,
        Err(error) => Err(io::Error::other(error)),
    });
    if let Err(error) = forgotten {
        error!(%error, "the snapshot cannot be removed: remove it before the next start");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_that_hangs_is_not_waited_for_and_is_removed_later() {
        let site = tempfile::tempdir().unwrap();
        let directory = Arc::new(DataDir::open(&site.path().join("data")).unwrap());
        let snapshot = directory.path().join("journal/snapshot");
        std::fs::write(&snapshot, "any").unwrap();
        let trusted = Arc::new(Mutex::new(true));
        let hangs = trusted.lock().unwrap();
        invalidate(trusted.clone(), directory, Duration::from_millis(1));
        assert!(*hangs && snapshot.exists(), "it was not waited for");
        drop(hangs);
        while *trusted.lock().unwrap() {
            thread::yield_now();
        }
        assert!(!snapshot.exists());
    }
}

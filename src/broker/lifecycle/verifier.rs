//! Reads what a start passed over, beside the serving.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::broker::lifecycle::fail_stop::FailStop;
use crate::broker::lifecycle::worker::WorkerStop;
use crate::journal::{DataDir, Journal, JournalError, UnverifiedSegments};

/// A rest is this many times as long as the reading of the segment before it: a quarter of one
/// processor at most.
const REST_TIMES: u32 = 3;

/// How long it waits after a read that failed.
const PAUSE: Duration = Duration::from_secs(30);

/// How long the removal of a checkpoint is waited for: a server that hangs is gone within 11 s.
const FORGET_MAX: Duration = Duration::from_secs(2);

/// What is verified, and who is told.
pub struct Verifier {
    pub earlier: UnverifiedSegments,
    pub directory: Arc<DataDir>,
    /// See [`Checkpoints::trusted`](crate::broker::lifecycle::snapshots::Snapshots::trusted).
    pub trusted: Arc<Mutex<bool>>,
    /// Records that are not verified yet.
    pub unverified: Arc<AtomicU64>,
    pub alarm: FailStop,
}

impl Verifier {
    /// Reads it all. Damage ends everything, as it would have prevented the start: without a
    /// checkpoint the next start meets it at once. A disk or a limit that keeps it from reading
    /// says nothing of the log: it begins again later.
    pub fn run(self, rest: &WorkerStop) {
        let last_seq = self.earlier.last_seq();
        loop {
            let mut began = Instant::now();
            let mut go_on = |verified| {
                self.unverified.store(last_seq - verified, Ordering::Relaxed);
                let goes_on = rest.rest(began.elapsed() * REST_TIMES);
                began = Instant::now();
                goes_on
            };
            match self.earlier.verify(&mut go_on) {
                Ok(true) => {
                    self.unverified.store(0, Ordering::Relaxed);
                    info!(seq = last_seq, "what the start passed over is as it was written");
                    return;
                }
                Ok(false) => return,
                Err(error @ (JournalError::Io { .. } | JournalError::InUse { .. })) => {
                    warn!(%error, "what the start passed over cannot be read now; it will be");
                    if !rest.rest(PAUSE) {
                        return;
                    }
                }
                Err(error) => return self.refuse(&error),
            }
        }
    }

    fn refuse(self, error: &JournalError) {
        error!(%error, "the log is damaged; nothing more is acknowledged");
        self.alarm.refuse();
        invalidate(self.trusted, self.directory, FORGET_MAX);
        self.alarm.raise();
    }
}

/// Removes the checkpoint, and lets no other come. A disk that hangs may hold that, or the
/// checkpoint that is being written, for ever: it is waited for only so long.
fn invalidate(trusted: Arc<Mutex<bool>>, directory: Arc<DataDir>, patience: Duration) {
    let (tell, forgotten) = mpsc::channel();
    let forget = move || {
        let mut trusted = trusted.lock().unwrap_or_else(PoisonError::into_inner);
        *trusted = false;
        // Who waited may have given up.
        let _ = tell.send(Journal::forget_snapshot(&directory));
    };
    let started = thread::Builder::new().name("distrust".to_owned()).spawn(forget);
    let forgotten = started.and_then(|_| match forgotten.recv_timeout(patience) {
        Ok(forgotten) => forgotten,
        Err(error) => Err(io::Error::other(error)),
    });
    if let Err(error) = forgotten {
        error!(%error, "the checkpoint cannot be removed: remove it before the next start");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_also_while_a_snapshot_hangs_which_is_removed_when_it_no_longer_does() {
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

//! Reads what a start passed over, beside the serving.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::alarm::Alarm;
use super::worker::Rest;
use crate::journal::{DataDir, Earlier, Journal, JournalError};

/// A rest is this many times as long as the reading of the segment before it: a quarter of one
/// processor at most.
const REST_TIMES: u32 = 3;

/// How long it waits after a read that failed.
const PAUSE: Duration = Duration::from_secs(30);

/// What is verified, and who is told.
pub(super) struct Verifier {
    pub earlier: Earlier,
    pub directory: Arc<DataDir>,
    /// See [`Checkpoints::trusted`](super::checkpoints::Checkpoints::trusted).
    pub trusted: Arc<Mutex<bool>>,
    /// Records that are not verified yet.
    pub unverified: Arc<AtomicU64>,
    pub alarm: Alarm,
}

impl Verifier {
    /// Reads it all. Damage ends everything, as it would have prevented the start: without a
    /// checkpoint the next start meets it at once. A disk or a limit that keeps it from reading
    /// says nothing of the log: it begins again later.
    pub fn run(self, rest: &Rest) {
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

    fn refuse(&self, error: &JournalError) {
        error!(%error, "the log is damaged; nothing more is acknowledged");
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        *trusted = false;
        if let Err(error) = Journal::forget_checkpoint(&self.directory) {
            error!(%error, "the checkpoint cannot be removed: remove it before the next start");
        }
        self.alarm.raise();
    }
}

//! The floor of being durable with many connections: a log that syncs once for all who wait.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::synced_file::SyncedFile;

/// Frames of the file, which the log goes round in: a segment of Broker's.
const FRAMES: usize = 150_000;

/// Those who wait, and the thread that appends for them.
#[derive(Default)]
pub struct GroupCommit {
    waiting: Mutex<Vec<oneshot::Sender<()>>>,
    arrived: Condvar,
}

impl GroupCommit {
    /// Makes the file, and starts the thread for as long as this program runs.
    pub fn start(path: &Path) -> io::Result<Arc<Self>> {
        let mut synced_file = SyncedFile::new(path, FRAMES)?;
        let group = Arc::new(Self::default());
        let shared = group.clone();
        thread::spawn(move || {
            loop {
                let waited =
                    shared.arrived.wait_while(shared.waiting(), |waiting| waiting.is_empty());
                let taken = std::mem::take(&mut *waited.unwrap_or_else(PoisonError::into_inner));
                if let Err(error) = synced_file.append_group(taken.len()) {
                    eprintln!("the log: {error}");
                    std::process::exit(1);
                }
                for answer in taken {
                    // Whoever has gone needs no answer.
                    let _ = answer.send(());
                }
            }
        });
        Ok(group)
    }

    /// Appends a frame, and comes back when it is synced.
    pub async fn append(&self) -> io::Result<()> {
        let (answer, answered) = oneshot::channel();
        self.waiting().push(answer);
        self.arrived.notify_one();
        answered.await.map_err(io::Error::other)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<oneshot::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

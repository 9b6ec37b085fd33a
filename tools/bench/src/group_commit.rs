//! The floor of durability with many connections: a log that syncs once for all waiting inserts.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use broker_tools::synced_file::SyncedFile;
use tokio::sync::oneshot;

/// Frames in the file, which is reused when full: as many as a segment of Broker has.
const FRAMES: usize = 150_000;

/// Waiting inserts, and the thread that appends them.
#[derive(Default)]
pub struct GroupCommit {
    waiting: Mutex<Vec<oneshot::Sender<()>>>,
    arrived: Condvar,
}

impl GroupCommit {
    /// Creates the file, and starts the thread, which runs until the program ends.
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
                    // A client that is gone needs no answer.
                    let _ = answer.send(());
                }
            }
        });
        Ok(group)
    }

    /// Appends a frame, and returns when it is synced.
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

//! A background thread of the broker that works from time to time and ends with it.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::error;

/// Ends its thread, and waits for it, when it is dropped.
pub struct Worker {
    /// Dropping it tells the thread to end.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Tells a worker's thread when to end.
pub struct WorkerStop(mpsc::Receiver<()>);

impl Worker {
    /// Starts a thread, which must look at its [`WorkerStop`] at least every half a second.
    pub fn start(name: &str, work: impl FnOnce(&WorkerStop) + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || work(&WorkerStop(stopped)))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Tells the thread to end without waiting for it: a disk may hold it forever.
    pub fn leave(mut self) {
        (self.stop, self.thread) = (None, None);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("a background thread of the broker panicked");
        }
    }
}

impl WorkerStop {
    /// Sleeps for `rest`; false if the thread is to end.
    pub fn rest(&self, rest: Duration) -> bool {
        self.0.recv_timeout(rest) == Err(RecvTimeoutError::Timeout)
    }
}

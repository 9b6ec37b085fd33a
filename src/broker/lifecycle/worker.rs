//! A thread of the broker's that works from time to time, and ends with it.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Ends its thread, and waits for it, when it is dropped.
pub struct Worker {
    /// Dropped first, which tells the thread.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The thread's end.
pub struct WorkerStop(mpsc::Receiver<()>);

impl Worker {
    /// Starts a thread. It must look at [`WorkerStop`] at least every half a second.
    pub fn start(name: &str, work: impl FnOnce(&WorkerStop) + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || work(&WorkerStop(stopped)))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Worker {
    /// Tells the thread to end, and waits for nothing: a disk may hold it for ever.
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
            tracing::error!("a thread of the broker's panicked");
        }
    }
}

impl WorkerStop {
    /// Rests that long; false when the thread is to end.
    pub fn rest(&self, rest: Duration) -> bool {
        self.0.recv_timeout(rest) == Err(RecvTimeoutError::Timeout)
    }
}

//! Runs the library's server in a thread with its own actix system.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use broker::{Config, RunError, serve};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::harness::stream::EventStream;
use crate::harness::wire::{Client, Connection};

/// A server on any free port, with its own directory. Dropping it stops it.
pub struct Server {
    pub address: SocketAddr,
    config: Config,
    dir: Arc<TempDir>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

/// Small limits, which a test reaches quickly.
pub fn small() -> Config {
    Config::default()
        .port(0)
        .segment_bytes(64 << 10)
        .cache_bytes(1 << 20)
        .shutdown(Duration::from_secs(2))
}

/// [`small`] with the data in `dir/data`.
pub fn small_in(dir: &Path) -> Config {
    small().data_dir(dir.join("data"))
}

impl Server {
    pub fn start() -> Self {
        Self::with(small())
    }

    /// Starts a server with these settings in a new directory.
    pub fn with(config: Config) -> Self {
        let dir = Arc::new(tempfile::tempdir().expect("a directory"));
        Self::run(config.data_dir(dir.path().join("data")), dir)
    }

    fn run(config: Config, dir: Arc<TempDir>) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (address_sender, address_receiver) = mpsc::channel();
        let settings = config.clone();
        let thread = thread::spawn(move || {
            actix_rt::System::new().block_on(serve(
                settings,
                async move { stopped.await.unwrap_or(()) },
                move |address| address_sender.send(address).expect("the test waits"),
            ))
        });
        let Ok(address) = address_receiver.recv() else {
            panic!("the server did not start: {:?}", thread.join().expect("no panic"));
        };
        Self { address, config, dir, stop: Some(stop), thread: Some(thread) }
    }

    /// Stops the server and starts it again on the same directory.
    pub fn restart(mut self) -> Self {
        self.stop();
        Self::run(self.config.clone(), self.dir.clone())
    }

    /// [`Server::restart`], with a change of the data directory in between.
    pub fn restart_after(mut self, between: impl FnOnce(&Path)) -> Self {
        self.stop();
        between(&self.data_dir());
        Self::run(self.config.clone(), self.dir.clone())
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts the shutdown without waiting for its end.
    pub fn begin_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The server may have ended by itself.
            let _ = stop.send(());
        }
    }

    pub fn stop(&mut self) {
        self.begin_stop();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server does not panic").expect("it ends without an error");
        }
    }

    pub fn client(&self) -> Client {
        Client(self.address)
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// Opens `/events` with this query, including the `?`.
    #[track_caller]
    pub fn events(&self, query: &str) -> EventStream {
        EventStream::open(self.address, &format!("/events{query}"), &[])
    }

    /// Opens `/events` as a client that resumes after `cursor`.
    #[track_caller]
    pub fn events_after(&self, query: &str, cursor: &str) -> EventStream {
        let header = format!("Last-Event-ID: {cursor}");
        EventStream::open(self.address, &format!("/events{query}"), &[&header])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.begin_stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !thread::panicking() {
                ended.expect("the server does not panic").expect("it ends without an error");
            }
        }
    }
}

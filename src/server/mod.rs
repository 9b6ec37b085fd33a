//! The life of a server process: from settings to a served port, and to a clean end.
//!
//! **Owns** the order of a start and of a shutdown, the time that each part of a shutdown gets, and
//! the sentence with which a run ends.
//!
//! **Promises** that requests in flight are answered before the writer drains, within
//! `BROKER_SHUTDOWN_SECONDS`; and that a start or a shutdown that hangs on the disk ends.
//!
//! **Does not** exit the process, set up logging or read the command line: `main.rs` does.

pub mod hang;

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::select;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::broker::{Broker, StartError};
use crate::config::{Config, ConfigErrors, Flags};
use crate::http;
use crate::journal::RESTORE;
use crate::server::hang::process_hung;

/// After the storage failed, how long requests that can still be answered get.
const STORAGE_FAILED_GRACE: Duration = Duration::from_secs(1);

/// The share of a shutdown for clients; the rest is for the writer and the history.
const CLIENTS_SHARE: f64 = 0.7;

/// Why a run failed. Each message is a full sentence for the operator.
#[derive(Debug, Error)]
pub enum RunError {
    /// Settings that cannot be used; lists all of them.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The start hangs. A thread is still blocked, so the process should exit.
    #[error(
        "the start has made no progress for 8 seconds because a call to the disk does not return: \
         check the disk of {directory}, then start again"
    )]
    StartHung {
        /// The data directory.
        directory: String,
    },
    /// Acknowledged records are missing from the log.
    #[error(
        "the log has lost acknowledged records, as the errors above say: do not start on it again, \
         but {RESTORE}"
    )]
    DataLoss,
    /// The server failed.
    #[error("the server failed: {0}")]
    Serve(#[source] io::Error),
    /// The broker failed to start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The log's storage failed while running.
    #[error(
        "the log's storage failed or is damaged, so nothing more can be acknowledged: see the \
         errors above, check the disk, then start again; everything acknowledged is kept"
    )]
    StorageFailed,
}

/// Runs a whole server until SIGTERM or SIGINT. The port comes from `PORT`, and every other setting
/// from `BROKER_…`, `.env` or its default.
///
/// `origin` is the setting `BROKER_ORIGIN`: `*` allows any page (without cookies), `loopback` pages
/// served from this machine, and otherwise origins such as `https://app.example.com`, separated by
/// commas.
///
/// # Errors
/// An [`io::Error`] around a [`RunError`].
pub async fn broker_run(origin: String) -> io::Result<()> {
    run_from_environment(&origin).await.map_err(io::Error::other)
}

async fn run_from_environment(origin: &str) -> Result<(), RunError> {
    let loaded = Config::from_flags(Flags::default().with("BROKER_ORIGIN", origin))?;
    for unknown in &loaded.unknown {
        warn!("{unknown}");
    }
    serve(loaded.config, shutdown_signal(), |_| {}).await
}

/// Serves `config` until `shutdown` resolves. `announce` receives the real address, because the
/// configured port may be 0.
///
/// # Errors
/// [`RunError`].
pub async fn serve(
    config: Config,
    shutdown: impl Future<Output = ()>,
    announce: impl FnOnce(SocketAddr),
) -> Result<(), RunError> {
    config.check()?;
    raise_descriptor_limit();
    let bound = http::bind(&config).map_err(|source| {
        let address = SocketAddr::new(config.host, config.port).to_string();
        StartError::Listen { address, source }
    })?;
    // A tenth is left for the process itself to exit.
    let grace = config.shutdown.mul_f64(0.9);
    let address = bound.address;
    let broker = open(config).await?;
    let server = bound.serve(&broker).map_err(RunError::Serve)?;
    let handle = server.handle();
    let mut serving = tokio::task::spawn_local(server);
    announce(address);

    let ended = wait_for_end(&broker, shutdown, &mut serving).await;

    info!("shutting down");
    broker.begin_shutdown();
    if !drain(&broker, || handle.stop(true), grace).await {
        warn!("the shutdown took too long and was cut short");
        broker.leave_workers().await;
    }
    serving.abort();
    result(&broker, ended)
}

/// Why serving ended.
enum ServeEnd {
    ShutdownRequested,
    Server(Result<io::Result<()>, JoinError>),
    StorageFailed,
}

/// Opens the broker, unless the process hangs.
async fn open(config: Config) -> Result<Broker, RunError> {
    let directory = config.data_dir.display().to_string();
    tokio::select! {
        opened = Broker::open(config) => Ok(opened?),
        () = process_hung() => Err(RunError::StartHung { directory }),
    }
}

/// Waits until serving has to end.
async fn wait_for_end(
    broker: &Broker,
    shutdown: impl Future<Output = ()>,
    serving: &mut JoinHandle<io::Result<()>>,
) -> ServeEnd {
    tokio::select! {
        () = shutdown => ServeEnd::ShutdownRequested,
        () = broker.failed() => ServeEnd::StorageFailed,
        result = serving => ServeEnd::Server(result),
    }
}

/// Answers the requests in flight, then drains the writer, even if a client reads nothing. Returns
/// false if there was not enough time, or the storage failed.
async fn drain<S: Future<Output = ()>>(
    broker: &Broker,
    stop_server: impl FnOnce() -> S,
    grace: Duration,
) -> bool {
    let stop = async {
        let _ = timeout(grace.mul_f64(CLIENTS_SHARE), stop_server()).await;
        broker.shutdown().await;
    };
    // Requests blocked on a failed or hung disk cannot complete.
    let storage_failed = async {
        broker.failed().await;
        sleep(STORAGE_FAILED_GRACE).await;
    };
    tokio::select! {
        () = stop => true,
        () = storage_failed => false,
        () = sleep(grace) => false,
    }
}

fn result(broker: &Broker, ended: ServeEnd) -> Result<(), RunError> {
    match ended {
        _ if broker.projection().reports_data_loss() => Err(RunError::DataLoss),
        _ if broker.storage_failed() => Err(RunError::StorageFailed),
        ServeEnd::ShutdownRequested => Ok(()),
        ServeEnd::StorageFailed => Err(RunError::StorageFailed),
        ServeEnd::Server(Ok(Ok(()))) => {
            Err(RunError::Serve(io::Error::other("it ended unexpectedly")))
        }
        ServeEnd::Server(Ok(Err(error))) => Err(RunError::Serve(error)),
        ServeEnd::Server(Err(error)) => Err(RunError::Serve(io::Error::other(error))),
    }
}

/// Resolves on SIGTERM or SIGINT. The handlers are installed by the call, not by the first poll.
///
/// # Panics
/// Outside of an async runtime.
pub fn shutdown_signal() -> impl Future<Output = ()> {
    let signals = signal(SignalKind::terminate())
        .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
    async move {
        match signals {
            Ok((mut terminate, mut interrupt)) => {
                select(pin!(terminate.recv()), pin!(interrupt.recv())).await;
            }
            Err(error) => {
                warn!(%error, "cannot listen for signals; only SIGKILL ends this process");
                pending::<()>().await;
            }
        }
    }
}

/// Every stream takes a file descriptor; the usual soft limit of 1,024 exists for programs that use
/// select(2).
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "cannot raise the limit on file descriptors, which limits open streams");
    }
}

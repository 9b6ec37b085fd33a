//! From settings to a served port, and to a clean end.

pub mod hang;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::select;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinError;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::broker::{Broker, StartError};
use crate::config::{Config, ConfigErrors, Flags};
use crate::http;
use crate::journal::RESTORE;
use crate::server::hang::process_hung;

/// How long requests that can still be answered are waited for after the log's storage failed.
const STORAGE_FAILED_GRACE: Duration = Duration::from_secs(1);

/// The part of a shutdown that is for clients; the rest is for the writer and the history.
const CLIENTS_SHARE: f64 = 0.7;

/// Why a run ended; each a full sentence for whoever started it.
#[derive(Debug, Error)]
pub enum RunError {
    /// Settings that cannot be used, all of them.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The start does not get anywhere; a thread is held, so the process should end.
    #[error(
        "the start has not advanced for 8 seconds: a call to the disk does not return; check the \
         disk of {directory}, then start again"
    )]
    StartHung {
        /// The data directory.
        directory: String,
    },
    /// Acknowledged records are missing from the log.
    #[error(
        "the log has lost records that were acknowledged, as the errors before this tell: do not \
         start on it again, but {RESTORE}"
    )]
    DataLoss,
    /// The server failed.
    #[error("the server failed: {0}")]
    Serve(#[source] io::Error),
    /// The broker does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The log's storage failed while running.
    #[error(
        "the log's storage failed or is damaged, so nothing more can be acknowledged: see the \
         errors before this, check the disk, then start again; what was acknowledged is kept"
    )]
    StorageFailed,
}

/// Runs a whole server until SIGTERM or SIGINT: the port from `PORT`, every other setting from
/// `BROKER_…`, `.env` or its default.
///
/// `origin` says whose pages may call: `*` is any page (without cookies), `loopback` those served
/// from this machine, otherwise origins such as `https://app.example.com`, separated by commas.
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

/// Serves `config` until `shutdown` resolves; `announce` hears the real address, for the port may
/// have been 0.
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
    // A tenth is left for the process itself to end in.
    let grace = config.shutdown.mul_f64(0.9);
    let address = bound.address;
    let directory = config.data_dir.display().to_string();
    let broker = tokio::select! {
        opened = Broker::open(config) => opened?,
        () = process_hung() => return Err(RunError::StartHung { directory }),
    };
    let server = bound.serve(broker.clone()).map_err(RunError::Serve)?;
    let handle = server.handle();
    let mut serving = tokio::task::spawn_local(server);
    announce(address);

    let ended = tokio::select! {
        () = shutdown => ServeEnd::ShutdownRequested,
        () = broker.failed() => ServeEnd::StorageFailed,
        result = &mut serving => ServeEnd::Server(result),
    };

    info!("shutting down");
    broker.begin_shutdown();
    // What is in flight is answered, then the writer drains, also when a client takes nothing.
    let stop = async {
        let _ = timeout(grace.mul_f64(CLIENTS_SHARE), handle.stop(true)).await;
        broker.shutdown().await;
    };
    // What waits for a disk that failed, or hangs, waits in vain.
    let failed = async {
        if !matches!(ended, ServeEnd::StorageFailed) {
            broker.failed().await;
        }
        sleep(STORAGE_FAILED_GRACE).await;
    };
    let in_time = tokio::select! {
        () = stop => true,
        () = failed => false,
        () = sleep(grace) => false,
    };
    if !in_time {
        warn!("the shutdown took too long and was cut short");
        broker.leave_workers().await;
    }
    serving.abort();
    match ended {
        _ if broker.projection().proves_loss() => Err(RunError::DataLoss),
        _ if broker.storage_failed() => Err(RunError::StorageFailed),
        ServeEnd::ShutdownRequested => Ok(()),
        ServeEnd::StorageFailed => Err(RunError::StorageFailed),
        ServeEnd::Server(Ok(Ok(()))) => {
            Err(RunError::Serve(io::Error::other("it ended by itself")))
        }
        ServeEnd::Server(Ok(Err(error))) => Err(RunError::Serve(error)),
        ServeEnd::Server(Err(error)) => Err(RunError::Serve(io::Error::other(error))),
    }
}

/// Why serving ends.
enum ServeEnd {
    ShutdownRequested,
    Server(Result<io::Result<()>, JoinError>),
    StorageFailed,
}

/// Resolves on SIGTERM or SIGINT; they are listened to from the call on, not from the first poll.
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
                warn!(%error, "signals cannot be listened to; only SIGKILL ends this process");
                std::future::pending().await
            }
        }
    }
}

/// Every stream is a descriptor; the usual soft limit of 1,024 is for programs that use select(2).
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "the limit on descriptors cannot be raised; it bounds the open streams");
    }
}

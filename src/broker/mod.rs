//! The broker: journal, order, newest, subscribers and projection, put together.
//!
//! Owns the start and the end. The calls that an embedding program makes stand where their noun is:
//! `inserts`, `subscribe`, `records`, `sink`.

mod api;
mod lifecycle;
#[cfg(test)]
mod simulation;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot, watch};

pub(crate) use api::consumers::{ConsumeError, ConsumeFrom};
pub use api::inserts::Inserted;
pub use api::records::Records;
pub use api::sink::{EventSink, SinkError, SinkFailure};
pub use api::subscribe::{ReplayMode, Resume, Subscribe};
pub use lifecycle::start::StartError;

use crate::bridge;
use crate::broker::api::consumers::Consumers;
use crate::broker::lifecycle::start;
use crate::broker::lifecycle::worker::Worker;
use crate::config::Config;
use crate::journal::{DataDir, Reader};
use crate::metrics::Metrics;
use crate::order::{Local, Stopped};
use crate::projection::{ProjectionHandle, Unavailable};
use crate::record::Seq;
use crate::subscription::Hub;
use crate::subscription::epochs::Epochs;

/// How long a read waits for the projection to reach what was acknowledged before it.
pub(crate) const READ_WAIT: Duration = Duration::from_secs(5);

/// A running broker. A clone is cheap and means the same one.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<BrokerInner>,
}

struct BrokerInner {
    config: Config,
    order: Local,
    stopped: Mutex<Option<Stopped>>,
    hub: Arc<Hub>,
    /// Seq of the last record when it was opened.
    opened_at: Seq,
    projection: ProjectionHandle,
    reader: Reader,
    epochs: Epochs,
    consumers: Consumers,
    metrics: Metrics,
    stopping: AtomicBool,
    /// Turns true when the log's storage failed for good.
    failed: watch::Receiver<bool>,
    /// Records that a checkpoint stands for and that were not read since the start.
    unverified: Arc<AtomicU64>,
    /// See [`fail_stop::Alarm::raised`].
    alarmed: Arc<AtomicBool>,
    workers: Mutex<Vec<Worker>>,
    /// Set at the end of the start, when one is set up.
    #[cfg(feature = "rabbitmq")]
    bridge: std::sync::OnceLock<bridge::Bridge>,
    /// Locked until the shutdown is complete.
    directory: Mutex<Option<Arc<DataDir>>>,
}

impl Drop for BrokerInner {
    /// Streams end and the teller goes, also for a program that never shut it down.
    fn drop(&mut self) {
        self.hub.close();
    }
}

impl Broker {
    /// Opens the data directory of `config`, recovers its log and starts the threads.
    ///
    /// # Errors
    /// [`StartError`], a full sentence that names what to change.
    pub async fn open(config: Config) -> Result<Self, StartError> {
        let opened = tokio::task::spawn_blocking(move || start::open(config)).await;
        let inner = opened.map_err(|error| StartError::Panicked(error.to_string()))??;
        let broker = Self { inner: Arc::new(inner) };
        #[cfg(feature = "rabbitmq")]
        broker.start_bridge().await?;
        Ok(broker)
    }

    /// Stops accepting inserts and ends subscriptions, appends what is queued, closes the log and
    /// the projection.
    pub async fn shutdown(&self) {
        self.begin_shutdown();
        #[cfg(feature = "rabbitmq")]
        if let Some(bridge) = self.inner.bridge.get() {
            // It keeps its position in the log.
            bridge.stop().await;
        }
        self.inner.order.stop();
        {
            // Held until the thread is gone, so that a second call waits too.
            let mut stopped = self.inner.stopped.lock().await;
            if let Some(stopped) = stopped.as_mut() {
                // The thread is gone either way.
                let _ = stopped.await;
            }
            *stopped = None;
        }
        let projection = self.inner.projection.clone();
        let workers = std::mem::take(&mut *self.inner.workers.lock().await);
        // A thread that nobody waits for in the end: a runtime would wait for one of its own, and
        // a disk may hold a worker for ever.
        let (tell, closed) = oneshot::channel();
        let workers = Arc::new(StdMutex::new(workers));
        let ours = workers.clone();
        let close = move || {
            // Before the workers, of whom one may hang.
            projection.close();
            drop(taken(&ours));
            // Who waited may have been cut short.
            let _ = tell.send(());
        };
        if let Err(error) = thread::Builder::new().name("close".to_owned()).spawn(close) {
            tracing::error!(%error, "no thread to end the others on");
            taken(&workers).into_iter().for_each(Worker::leave);
        }
        if closed.await.is_err() {
            tracing::error!("the projection was not closed cleanly");
        }
        self.inner.directory.lock().await.take();
    }

    /// After a shutdown that was cut short: nobody waits any more for threads that a disk may hold
    /// for ever. They end with the process, or when the disk lets them.
    pub(crate) async fn leave_workers(&self) {
        let workers = std::mem::take(&mut *self.inner.workers.lock().await);
        workers.into_iter().for_each(Worker::leave);
    }

    /// The settings that it was opened with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Ends subscriptions and refuses inserts; what is queued goes on.
    pub(crate) fn begin_shutdown(&self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
        self.inner.hub.close();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.inner.stopping.load(Ordering::Relaxed)
    }

    /// Whether the log's storage failed, or a thread that serves it is gone.
    pub(crate) fn has_failed(&self) -> bool {
        let failed = &self.inner.failed;
        *failed.borrow() || failed.has_changed().is_err() || self.inner.hub.is_closed()
    }

    /// Whether the log's storage failed or is damaged, also after a shutdown.
    pub(crate) fn storage_failed(&self) -> bool {
        *self.inner.failed.borrow() || self.inner.alarmed.load(Ordering::Relaxed)
    }

    /// Turns true when the log's storage failed for good.
    pub(crate) fn failure(&self) -> watch::Receiver<bool> {
        self.inner.failed.clone()
    }

    /// The seq up to which everything is durable and visible.
    pub(crate) fn head(&self) -> Seq {
        self.inner.hub.with_latest(|latest| latest.head())
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    pub(crate) fn projection(&self) -> &ProjectionHandle {
        &self.inner.projection
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.inner.reader
    }

    /// Records that a checkpoint stands for and that were not read since the start.
    pub(crate) fn unverified(&self) -> u64 {
        self.inner.unverified.load(Ordering::Relaxed)
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// How the bridge to RabbitMQ stands, if one is set up.
    pub(crate) fn bridge_state(&self) -> Option<&bridge::BridgeState> {
        #[cfg(feature = "rabbitmq")]
        return self.inner.bridge.get().map(bridge::Bridge::state);
        #[cfg(not(feature = "rabbitmq"))]
        None
    }

    pub(crate) fn queue_bytes(&self) -> usize {
        self.inner.order.queue_bytes()
    }

    /// Waits until reads see everything that is visible now.
    ///
    /// # Errors
    /// [`Unavailable::Behind`] after five seconds, and at once what will not pass by waiting.
    pub(crate) async fn caught_up(&self) -> Result<(), Unavailable> {
        self.inner.projection.reached(self.head(), READ_WAIT).await
    }
}

fn taken(workers: &StdMutex<Vec<Worker>>) -> Vec<Worker> {
    std::mem::take(&mut *workers.lock().unwrap_or_else(PoisonError::into_inner))
}

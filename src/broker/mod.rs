//! The broker: journal, order, latest records, subscriptions and projection, put together.
//!
//! **Owns** the handle; its start and end are in `lifecycle`, and the calls of an embedding program in
//! `api`, a file for each noun.
//!
//! **Promises** that a shutdown appends what is queued and closes the log, and that nothing is
//! acknowledged once the log cannot be relied on.
//!
//! **Does not** know how proposals are ordered, nor the wire.

mod api;
mod lifecycle;
#[cfg(test)]
mod simulation;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

pub(crate) use api::consumers::{ConsumeError, ConsumeFrom};
pub use api::inserts::Inserted;
pub use api::records::Records;
pub use api::sink::{EventSink, SinkError, SinkFailure};
pub use api::subscribe::{ReplayMode, Resume, Subscribe};
pub use lifecycle::error::StartError;

use crate::bridge;
use crate::broker::api::consumers::requests::Consumers;
use crate::broker::lifecycle::worker::Worker;
use crate::config::Config;
use crate::journal::{DataDir, Reader};
use crate::metrics::Metrics;
use crate::order::{FailStop, Order, Stage};
use crate::projection::{ProjectionHandle, Unavailable};
use crate::record::Seq;
use crate::subscription::Hub;
use crate::subscription::epochs::Epochs;

/// How long a read waits until the projection holds what was acknowledged before it.
pub(crate) const READ_WAIT: Duration = Duration::from_secs(5);

/// A running broker. Clones are cheap and share it.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<BrokerInner>,
}

struct BrokerInner {
    config: Config,
    order: Arc<dyn Order>,
    fail_stop: FailStop,
    hub: Arc<Hub>,
    /// Seq of the record of this open.
    opened_at: Seq,
    projection: ProjectionHandle,
    reader: Reader,
    epochs: Epochs,
    consumers: Consumers,
    metrics: Metrics,
    stopping: AtomicBool,
    /// Records that a snapshot stands for and that were not verified since the start.
    unverified: Arc<AtomicU64>,
    workers: Mutex<Vec<Worker>>,
    /// Set at the end of the start, if a bridge is configured.
    #[cfg(feature = "rabbitmq")]
    bridge: std::sync::OnceLock<bridge::Bridge>,
    /// Keeps the directory locked until the shutdown is complete.
    directory: Mutex<Option<Arc<DataDir>>>,
}

impl Drop for BrokerInner {
    /// Ends streams and the dispatcher, also for a program that never shut the broker down.
    fn drop(&mut self) {
        self.hub.close();
    }
}

impl Broker {
    /// The settings that it was opened with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.inner.stopping.load(Ordering::Relaxed)
    }

    /// Whether a thread that serves the log has failed or is gone.
    pub(crate) fn has_failed(&self) -> bool {
        !self.inner.fail_stop.is_appending() || self.inner.hub.is_closed()
    }

    /// Whether the log's storage failed or is damaged, even if that was found after a shutdown.
    pub(crate) fn storage_failed(&self) -> bool {
        self.inner.fail_stop.stage() != Stage::Sound
    }

    /// Resolves when the process should end because the log cannot be relied on.
    pub(crate) async fn failed(&self) {
        self.inner.fail_stop.failed().await;
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

    /// Records that a snapshot stands for and that were not verified since the start.
    pub(crate) fn unverified(&self) -> u64 {
        self.inner.unverified.load(Ordering::Relaxed)
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The state of the bridge to RabbitMQ, if one is configured.
    #[cfg_attr(
        not(feature = "rabbitmq"),
        expect(clippy::unused_self, reason = "only a build with the bridge has a state to show")
    )]
    pub(crate) fn bridge_state(&self) -> Option<&bridge::BridgeState> {
        #[cfg(feature = "rabbitmq")]
        return self.inner.bridge.get().map(bridge::Bridge::state);
        #[cfg(not(feature = "rabbitmq"))]
        None
    }

    /// Bytes of inserts that wait for the disk.
    pub(crate) fn queue_bytes(&self) -> usize {
        self.inner.order.admission().bytes()
    }

    /// Waits until the projection holds everything that is visible now.
    ///
    /// # Errors
    /// [`Unavailable::Behind`] after five seconds; at once any error that waiting would not mend.
    pub(crate) async fn caught_up(&self) -> Result<(), Unavailable> {
        self.inner.projection.reached(self.head(), READ_WAIT).await
    }
}

//! The start: directory, projection, log, order, threads, in the order of trust.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::thread;
use std::time::SystemTime;

use bytes::Bytes;
use rand::Rng as _;
use tokio::sync::Mutex;
use tracing::error;

use crate::bridge;
use crate::broker::api::consumers::requests::Consumers;
use crate::broker::api::id_lookup::IdFinder;
use crate::broker::api::inserts::propose;
use crate::broker::lifecycle::error::StartError;
use crate::broker::lifecycle::replay::{ProjectionEvidence, ReplayedLog, ReplayedState, replay};
use crate::broker::lifecycle::snapshots::Snapshots;
use crate::broker::lifecycle::verifier::Verifier;
use crate::broker::lifecycle::watchdog::Watchdog;
use crate::broker::lifecycle::worker::{Worker, WorkerStop};
use crate::broker::{Broker, BrokerInner};
use crate::config::Config;
use crate::decide::{FoldState, Proposal};
use crate::journal::{DataDir, Journal, Reader, UnverifiedSegments};
use crate::metrics::Metrics;
use crate::order::{
    Admission, FailStop, INLINE_APPEND_MAX, Local, LocalOptions, Observer, Order, Ports, RecentIds,
    Started,
};
use crate::projection::{Projection, ProjectionHandle, ProjectionOptions, refuse_data_loss};
use crate::record::{Data, Epoch, Identity, NewEvent, Record, Timestamp};
use crate::subscription::epochs::{open_data, open_name};
use crate::subscription::{Hub, HubOptions};

/// In a burst the projection may fall behind by half of the maximum lag. Sinks begin to wait later
/// than that, and a start still remembers the ids of what is not applied.
const BURST_LAG_SHARE: u64 = 2;

impl Broker {
    /// Opens the data directory of `config`, recovers its log and starts the threads.
    ///
    /// # Errors
    /// [`StartError`], a full sentence that names what to change.
    pub async fn open(config: Config) -> Result<Self, StartError> {
        let opened = tokio::task::spawn_blocking(move || open(config)).await;
        let inner = opened.map_err(|error| StartError::Panicked(error.to_string()))??;
        let broker = Self { inner: Arc::new(inner) };
        #[cfg(feature = "rabbitmq")]
        broker.start_bridge().await?;
        Ok(broker)
    }
}

/// Opens a broker, step by step. What a step returns is known to be sound; nothing is appended
/// before the log and the projection agree, and nothing is served before this returns.
///
/// # Errors
/// [`StartError`].
pub fn open(config: Config) -> Result<BrokerInner, StartError> {
    check(&config)?;
    let directory = Arc::new(DataDir::open(&config.data_dir)?);
    let projection = open_projection(&config, &directory)?;
    let ReplayedLog { journal, restored, unverified, bytes_read } =
        replay_log(&config, &directory, &projection)?;
    let reader = journal.reader();
    let projection = follow_log(projection, &restored, &reader)?;
    let ReplayedState { state, latest, mut epochs, mut opens, recent, .. } = restored;

    let epoch = Epoch(rand::rng().random());
    let hub = Hub::new(latest, HubOptions { window_bytes_max: config.window_bytes, epoch });
    let metrics = Metrics::new();
    let fail_stop = FailStop::new(Admission::new(config.queue_bytes));
    let ports = Ports {
        log: journal,
        observer: HubObserver {
            hub: hub.clone(),
            metrics: metrics.clone(),
            _directory: directory.clone(),
        },
        ids: IdFinder::new(projection.clone(), reader.clone()),
    };
    let Started { order, opening } = start_order(ports, state, recent, &fail_stop, epoch)?;
    for record in &opening {
        let restored = epochs.restore(record.seq(), record.data());
        restored.expect("it was just written so");
    }
    opens.extend(opening);

    start_dispatcher(&hub)?;
    let order: Arc<dyn Order> = Arc::new(order);
    let unverified_records = Arc::new(AtomicU64::new(0));
    let mut workers = Workers { directory: directory.clone(), started: Vec::new() };
    let trusted = workers.start_snapshots(&config, &hub, &reader, opens, bytes_read)?;
    if let Some(segments) = unverified {
        workers.start_verifier(segments, trusted, &unverified_records, &fail_stop)?;
    }
    workers.start_watchdog(Watchdog {
        order: order.clone(),
        projection: projection.clone(),
        fail_stop: fail_stop.clone(),
    })?;
    Ok(BrokerInner {
        order,
        fail_stop,
        opened_at: hub.with_latest(|latest| latest.head()),
        hub,
        projection,
        reader,
        epochs,
        consumers: Consumers::default(),
        metrics,
        stopping: false.into(),
        unverified: unverified_records,
        workers: Mutex::new(workers.started),
        #[cfg(feature = "rabbitmq")]
        bridge: std::sync::OnceLock::new(),
        directory: Mutex::new(Some(directory)),
        config,
    })
}

/// Refuses settings, builds and clocks that no start can work with.
fn check(config: &Config) -> Result<(), StartError> {
    config.check()?;
    if config.rabbitmq.url.is_some() && !bridge::IS_BUILT {
        return Err(StartError::NoBridge);
    }
    if SystemTime::now() < SystemTime::UNIX_EPOCH {
        return Err(StartError::Clock);
    }
    Ok(())
}

/// Opens the projection and compares it with itself, or defers that if it would take long.
fn open_projection(config: &Config, directory: &DataDir) -> Result<Projection, StartError> {
    let path = directory.path().join("projection");
    refuse_data_loss(&path)?;
    let options = ProjectionOptions {
        cache_bytes_max: config.cache_bytes,
        burst_lag_records_max: config.max_projection_lag / BURST_LAG_SHARE,
        replayed_records_max: config.background_open_records,
        ..ProjectionOptions::default()
    };
    Ok(Projection::open(&path, directory.log_id(), options))
}

/// Reads the log, which the projection's position is evidence for.
fn replay_log(
    config: &Config,
    directory: &DataDir,
    projection: &Projection,
) -> Result<ReplayedLog, StartError> {
    let applied = projection.applied();
    let confirm = || projection.confirm_applied();
    let evidence = ProjectionEvidence { applied: applied.as_ref(), confirm: Some(&confirm) };
    replay(directory, config, evidence)
}

/// Has the projection follow the log. That begins before anything is appended, because the
/// projection knows how far the log reached at least.
fn follow_log(
    projection: Projection,
    restored: &ReplayedState,
    reader: &Reader,
) -> Result<ProjectionHandle, StartError> {
    let agrees = restored.agrees(projection.applied().as_ref());
    projection.start(reader.clone(), agrees).map_err(StartError::Thread)
}

/// Starts the order, whose first record is that of this open.
fn start_order(
    ports: Ports<Journal, HubObserver, IdFinder>,
    state: FoldState,
    recent: RecentIds,
    fail_stop: &FailStop,
    epoch: Epoch,
) -> Result<Started, StartError> {
    let options = LocalOptions {
        clock: Timestamp::now,
        opening: Some(opening(epoch)),
        inline_append_max: INLINE_APPEND_MAX,
    };
    Ok(Local::start(ports, state, recent, fail_stop, options)?)
}

/// The record that an open appends.
pub fn opening(epoch: Epoch) -> Proposal {
    propose(vec![NewEvent {
        identity: Identity { event: open_name(), to: None },
        data: Data::checked(Bytes::from(open_data(epoch))),
        id: None,
        expected_version: None,
        author: None,
    }])
}

/// Starts the thread that hands durable records to subscribers.
fn start_dispatcher(hub: &Arc<Hub>) -> Result<(), StartError> {
    let (dispatcher, hub) = (hub.dispatcher(), hub.clone());
    let run = move || {
        // Streams must not stay open without receiving anything.
        if catch_unwind(AssertUnwindSafe(|| dispatcher.run())).is_err() {
            error!("the dispatcher panicked; streams end");
            hub.close();
        }
    };
    let thread = thread::Builder::new().name("dispatcher".to_owned()).spawn(run);
    thread.map(drop).map_err(StartError::Thread)
}

/// The background threads that end with the broker.
struct Workers {
    directory: Arc<DataDir>,
    started: Vec<Worker>,
}

impl Workers {
    /// Answers whether snapshots are trusted, for those who may find out that they are not.
    fn start_snapshots(
        &mut self,
        config: &Config,
        hub: &Arc<Hub>,
        reader: &Reader,
        opens: Vec<Arc<Record>>,
        bytes_read: u64,
    ) -> Result<Arc<StdMutex<bool>>, StartError> {
        let trusted = Arc::new(StdMutex::new(true));
        let snapshots = Snapshots {
            hub: hub.clone(),
            reader: reader.clone(),
            opens,
            due_bytes: config.snapshot_bytes,
            bytes_read,
            trusted: trusted.clone(),
            _directory: self.directory.clone(),
        };
        self.start("snapshots", move |stop| snapshots.run(stop))?;
        Ok(trusted)
    }

    fn start_verifier(
        &mut self,
        segments: UnverifiedSegments,
        trusted: Arc<StdMutex<bool>>,
        unverified: &Arc<AtomicU64>,
        fail_stop: &FailStop,
    ) -> Result<(), StartError> {
        unverified.store(segments.last_seq(), Ordering::Relaxed);
        let (unverified, fail_stop) = (unverified.clone(), fail_stop.clone());
        let directory = self.directory.clone();
        let verifier = Verifier { segments, directory, trusted, unverified, fail_stop };
        self.start("verifier", move |stop| verifier.run(stop))
    }

    fn start_watchdog(&mut self, watchdog: Watchdog) -> Result<(), StartError> {
        self.start("watchdog", move |stop| watchdog.run(stop))
    }

    fn start(
        &mut self,
        name: &str,
        work: impl FnOnce(&WorkerStop) + Send + 'static,
    ) -> Result<(), StartError> {
        self.started.push(Worker::start(name, work).map_err(StartError::Thread)?);
        Ok(())
    }
}

/// Hands durable groups to the hub. It lives as long as the appender, so that the directory stays
/// locked until the log is closed.
struct HubObserver {
    hub: Arc<Hub>,
    metrics: Metrics,
    _directory: Arc<DataDir>,
}

impl Observer for HubObserver {
    fn committed(&mut self, group: &[Arc<Record>]) {
        self.hub.commit(group);
        self.metrics.committed(group.len());
    }

    fn acknowledged(&mut self) {
        self.hub.wake_dispatcher();
    }
}

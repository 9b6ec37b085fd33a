//! The start: directory, projection, journal, epoch, threads, in the order of trust.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::SystemTime;

use thiserror::Error;
use tokio::sync::{Mutex, watch};
use tracing::error;

use crate::bridge;
use crate::broker::BrokerInner;
use crate::broker::api::consumers::Consumers;
use crate::broker::api::id_lookup::IdFinder;
use crate::broker::lifecycle::fail_stop::FailStop;
use crate::broker::lifecycle::replay::{ProjectionEvidence, ReplayedLog, restore};
use crate::broker::lifecycle::snapshots::Snapshots;
use crate::broker::lifecycle::verifier::Verifier;
use crate::broker::lifecycle::watchdog;
use crate::broker::lifecycle::worker::{Worker, WorkerStop};
use crate::config::{Config, ConfigErrors};
use crate::decide::Limits;
use crate::journal::{AppendError, DataDir, DirError, JournalError};
use crate::metrics::Metrics;
use crate::order::{Local, LocalOptions, Observer, SWIFT};
use crate::projection::{DataLoss, Projection, refuse_loss};
use crate::record::Record;
use crate::subscription::{Hub, HubOptions};

/// Why a broker does not start; each a full sentence that says what to change.
#[derive(Debug, Error)]
pub enum StartError {
    /// A bridge is set up, and this build has none.
    #[error(
        "BROKER_RABBITMQ_URL is set, but this broker was built without the feature rabbitmq: build \
         it with `cargo build --release --features rabbitmq`, or unset it"
    )]
    NoBridge,
    /// The first record of this open could not be appended.
    #[error("the log cannot be appended to: {0}")]
    Append(#[from] AppendError),
    /// The machine's clock is before 1970.
    #[error("the machine's clock stands before 1970: set it, for records carry its time")]
    Clock,
    /// Settings that cannot be used, all of them.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirError),
    /// The log cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An earlier run found that the log had lost records, and had served by then.
    #[error(transparent)]
    DataLoss(#[from] DataLoss),
    /// A defect.
    #[error("the start did not finish: {0}")]
    Panicked(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another with PORT or BROKER_HOST")]
    Listen {
        /// What was asked for.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("a thread cannot be started: {0}; raise the limit on processes")]
    Thread(#[source] io::Error),
}

/// In a burst the history falls behind by one part in so many of what it may: sinks wait later than
/// that, and a start still remembers the ids of what it has not applied.
const GIVE_WAY_PART: u64 = 2;

pub fn open(config: Config) -> Result<BrokerInner, StartError> {
    config.check()?;
    if config.rabbitmq.url.is_some() && !bridge::IS_BUILT {
        return Err(StartError::NoBridge);
    }
    if SystemTime::now() < SystemTime::UNIX_EPOCH {
        return Err(StartError::Clock);
    }
    let directory = Arc::new(DataDir::open(&config.data_dir)?);
    let projection_dir = directory.path().join("projection");
    refuse_loss(&projection_dir)?;
    let projection = Projection::open(
        &projection_dir,
        directory.log_id(),
        crate::projection::ProjectionOptions {
            cache_bytes_max: config.cache_bytes,
            give_way_records_max: config.max_projection_lag / GIVE_WAY_PART,
            replayed_records_max: config.background_open_records,
            ..crate::projection::ProjectionOptions::default()
        },
    );
    let applied = projection.applied();
    let prove = || projection.prove();
    let evidence = ProjectionEvidence { applied: applied.as_ref(), prove: Some(&prove) };
    let ReplayedLog { mut journal, mut restored, earlier, bytes_read } =
        restore(&directory, &config, evidence)?;
    let agrees = restored.agrees(applied.as_ref());
    let reader = journal.reader();
    // Before anything is appended: it knows how far the log reached at least.
    let projection = projection.start(reader.clone(), agrees).map_err(StartError::Thread)?;
    let epoch = restored.append_open(&mut journal, config.max_projection_lag)?;
    let options = HubOptions { window_bytes_max: config.window_bytes, epoch };
    let opened_at = restored.latest.head();
    let hub = Hub::new(restored.latest, options);
    let metrics = Metrics::new();
    let (fail, failed) = watch::channel(false);
    let fail = Arc::new(fail);
    let fail_while_appending = Arc::downgrade(&fail);
    let (order, stopped) = Local::start(
        journal,
        restored.state,
        restored.recent,
        IdFinder::new(projection.clone(), reader.clone()),
        HubObserver {
            hub: hub.clone(),
            metrics: metrics.clone(),
            fail,
            _directory: directory.clone(),
        },
        LocalOptions {
            queue_bytes_max: config.queue_bytes,
            limits: Limits {
                events_max: saturating(config.max_events),
                latest_bytes_max: saturating(config.max_latest_bytes),
                consumers_max: config.max_consumers.get(),
            },
            swift: SWIFT,
        },
    )
    .map_err(StartError::Thread)?;
    let dispatcher = hub.dispatcher();
    let told = hub.clone();
    spawn("dispatcher", move || {
        // Streams must not go on without being told anything.
        if catch_unwind(AssertUnwindSafe(|| dispatcher.run())).is_err() {
            error!("the teller panicked; streams end");
            told.close();
        }
    })?;
    let alarmed = Arc::new(AtomicBool::new(false));
    let alarm =
        FailStop { appends: order.appends(), raised: alarmed.clone(), fail: fail_while_appending };
    let unverified = Arc::new(AtomicU64::new(0));
    let mut workers = Vec::new();
    let mut work = |name, work: Box<dyn FnOnce(&WorkerStop) + Send>| {
        workers.push(Worker::start(name, work).map_err(StartError::Thread)?);
        Ok::<(), StartError>(())
    };
    let trusted = Arc::new(std::sync::Mutex::new(true));
    let snapshots = Snapshots {
        hub: hub.clone(),
        reader: reader.clone(),
        opens: restored.opens,
        due_bytes: config.snapshot_bytes,
        bytes_read,
        trusted: trusted.clone(),
        _directory: directory.clone(),
    };
    work("snapshots", Box::new(move |rest| snapshots.run(rest)))?;
    if let Some(earlier) = earlier {
        unverified.store(earlier.last_seq(), Ordering::Relaxed);
        let (directory, unverified) = (directory.clone(), unverified.clone());
        let alarm = alarm.clone();
        let verifier = Verifier { earlier, directory, trusted, unverified, alarm };
        work("verifier", Box::new(move |rest| verifier.run(rest)))?;
    }
    let evidence = projection.clone();
    work("watchdog", Box::new(move |rest| watchdog::run(&alarm, &evidence, rest)))?;
    Ok(BrokerInner {
        config,
        order,
        stopped: Mutex::new(Some(stopped)),
        hub,
        opened_at,
        projection,
        reader,
        epochs: restored.epochs,
        consumers: Consumers::default(),
        metrics,
        stopping: false.into(),
        failed,
        unverified,
        alarmed,
        workers: Mutex::new(workers),
        #[cfg(feature = "rabbitmq")]
        bridge: std::sync::OnceLock::new(),
        directory: Mutex::new(Some(directory)),
    })
}

/// Tells the hub of durable groups. It lives as long as the appending thread, which therefore
/// holds the directory's lock.
struct HubObserver {
    hub: Arc<Hub>,
    metrics: Metrics,
    fail: Arc<watch::Sender<bool>>,
    _directory: Arc<DataDir>,
}

impl Observer for HubObserver {
    fn committed(&mut self, group: &[Arc<Record>]) {
        self.hub.commit(group);
        self.metrics.committed(group.len());
    }

    fn acknowledged(&mut self) {
        self.hub.announce();
    }

    fn failed(&mut self, error: &AppendError) {
        error!(%error, "the log's storage failed; nothing more is acknowledged");
        self.fail.send_replace(true);
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map(drop).map_err(StartError::Thread)
}

fn saturating(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

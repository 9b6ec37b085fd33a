//! The start: directory, projection, journal, epoch, threads, in the order of trust.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use rand::Rng as _;
use thiserror::Error;
use tokio::sync::{Mutex, watch};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::engines::Engines;
use super::{Inner, propose};
use crate::audit::Digest;
use crate::config::{Config, ConfigErrors};
use crate::decide::{Limits, RestoredRecord, Seen, State, Verdict};
use crate::epochs::{Epochs, open_data, open_name};
use crate::journal::{AppendError, DataDir, DirError, Journal, JournalError, Opened, Options};
use crate::metrics::Metrics;
use crate::newest::Newest;
use crate::order::{Local, LocalOptions, Observer, RecentIds};
use crate::projection::{Applied, Projection};
use crate::record::{Data, Epoch, Identity, NewEvent, Record, RecordError, Seq, StoredRecord};
use crate::subscription::{Hub, HubOptions};

/// Why a broker does not start; each a full sentence that says what to change.
#[derive(Debug, Error)]
pub enum StartError {
    /// The first record of this open could not be appended.
    #[error("the log cannot be appended to: {0}")]
    Append(#[from] AppendError),
    /// Settings that cannot be used, all of them.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirError),
    /// The log cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
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

/// What the log gives back, collected while it is read.
struct Restored {
    state: State,
    newest: Newest,
    epochs: Epochs,
    /// Ids that the projection does not hold yet.
    recent: RecentIds,
    recent_max: u64,
    /// The chain at the projection's position.
    chain_at_applied: Option<Digest>,
}

pub(super) fn open(config: Config) -> Result<Inner, StartError> {
    config.check()?;
    let directory = Arc::new(DataDir::open(&config.data_dir)?);
    let projection = Projection::open(
        &directory.path().join("projection"),
        directory.log_id(),
        crate::projection::Options {
            cache_bytes_max: config.cache_bytes,
            give_way_records_max: config.max_projection_lag / 2,
        },
    );
    let applied = projection.applied();
    let (mut journal, mut restored) = restore(&directory, &config, applied)?;
    let agrees = match &applied {
        Some(applied) => restored.chain_at_applied == Some(applied.chain),
        None => true,
    };
    let epoch = append_open(&mut journal, &mut restored)?;

    let reader = journal.reader();
    let projection = projection.start(reader.clone(), agrees).map_err(StartError::Thread)?;
    let options = HubOptions { window_bytes_max: config.window_bytes, epoch };
    let hub = Hub::new(restored.newest, options);
    let metrics = Metrics::new();
    let (fail, failed) = watch::channel(false);
    let (order, stopped) = Local::start(
        journal,
        restored.state,
        restored.recent,
        Engines::new(projection.clone(), reader.clone()),
        Announcer {
            hub: hub.clone(),
            metrics: metrics.clone(),
            fail,
            _directory: directory.clone(),
        },
        LocalOptions {
            queue_bytes_max: config.queue_bytes,
            limits: Limits {
                events_max: saturating(config.max_events),
                newest_bytes_max: saturating(config.max_newest_bytes),
            },
        },
    )
    .map_err(StartError::Thread)?;
    let teller = hub.teller();
    let told = hub.clone();
    spawn("teller", move || {
        // Streams must not go on without being told anything.
        if catch_unwind(AssertUnwindSafe(|| teller.run())).is_err() {
            error!("the teller panicked; streams end");
            told.close();
        }
    })?;
    Ok(Inner {
        config,
        order,
        stopped: Mutex::new(Some(stopped)),
        hub,
        projection,
        reader,
        epochs: restored.epochs,
        metrics,
        stopping: false.into(),
        failed,
        directory: Mutex::new(Some(directory)),
    })
}

/// Reads the log from its beginning: nothing that is served comes from anywhere else.
fn restore(
    directory: &DataDir,
    config: &Config,
    applied: Option<Applied>,
) -> Result<(Journal, Restored), StartError> {
    let proven = applied.as_ref().map_or(0, |applied| applied.seq);
    let keep_ids_after = applied.map_or(0, |applied| applied.seq);
    let mut restored = Restored {
        state: State::default(),
        newest: Newest::default(),
        epochs: Epochs::default(),
        recent: RecentIds::new(keep_ids_after, config.max_projection_lag),
        recent_max: config.max_projection_lag / 2,
        chain_at_applied: None,
    };
    let mut visit = |stored: &StoredRecord<'_>, chain: &Digest| -> Result<(), RecordError> {
        let record = Arc::new(stored.to_record()?);
        if record.seq() == keep_ids_after {
            restored.chain_at_applied = Some(*chain);
        }
        restored.take(&record, keep_ids_after)
    };
    let options = Options { segment_bytes_max: config.segment_bytes };
    let Opened { journal, report } = Journal::open(directory, options, proven, &mut visit)?;
    if let Some(torn) = &report.torn {
        warn!(
            file = %torn.file.display(), offset = torn.offset, bytes = torn.bytes,
            kept_at = %torn.kept_at.display(), last_good_seq = torn.last_good_seq,
            "the log ended in a group that is not whole and that nothing shows to have been \
             acknowledged; it was cut and kept aside"
        );
    }
    info!(records = report.records, seq = report.head, "log read");
    Ok((journal, restored))
}

impl Restored {
    fn take(&mut self, record: &Arc<Record>, keep_ids_after: Seq) -> Result<(), RecordError> {
        self.state.restore(RestoredRecord::of(record));
        if record.event() == &open_name() {
            self.epochs.restore(record.seq(), record.data()).map_err(RecordError::System)?;
        }
        if record.seq() > keep_ids_after {
            self.recent.insert(record);
            // Older ids are unknown until the projection has come so far.
            self.recent.keep_last(self.recent_max);
        }
        self.newest.apply(record);
        Ok(())
    }
}

/// Draws this open's epoch and makes it durable before anything is served.
fn append_open(journal: &mut Journal, restored: &mut Restored) -> Result<Epoch, StartError> {
    let epoch = Epoch(rand::rng().random());
    let event = NewEvent {
        identity: Identity { event: open_name(), to: None },
        data: Data::checked(Bytes::from(open_data(epoch))),
        id: None,
        expected_version: None,
        author: None,
    };
    let limits = Limits { events_max: usize::MAX, newest_bytes_max: usize::MAX };
    let now = crate::record::Timestamp::now();
    let verdict = restored.state.decide(propose(vec![event]), &NothingSeen, now, limits);
    let Ok(Verdict::Append(records)) = verdict else {
        unreachable!("an event without id or expectation is always appended");
    };
    journal.append(&records)?;
    restored.state.settle();
    for record in &records {
        restored.epochs.restore(record.seq(), record.data()).expect("it was just written so");
        restored.recent.insert(record);
        restored.newest.apply(record);
    }
    Ok(epoch)
}

struct NothingSeen;

impl Seen for NothingSeen {
    fn find(&self, _: &Uuid) -> Option<Arc<Record>> {
        None
    }
}

/// Tells the hub of durable groups. It lives as long as the appending thread, which therefore
/// holds the directory's lock.
struct Announcer {
    hub: Arc<Hub>,
    metrics: Metrics,
    fail: watch::Sender<bool>,
    _directory: Arc<DataDir>,
}

impl Observer for Announcer {
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

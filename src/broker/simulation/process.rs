//! One run of the broker process, without its threads.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::broker::api::id_lookup::IdFinder;
use crate::broker::lifecycle::error::StartError;
use crate::broker::lifecycle::replay::{ProjectionEvidence, ReplayedLog, replay};
use crate::broker::lifecycle::snapshots::Snapshots;
use crate::broker::lifecycle::start::opening;
use crate::broker::simulation::index::SimulatedIndex;
use crate::broker::simulation::oracle::Oracle;
use crate::config::Config;
use crate::journal::{AppendError, DataDir, Journal, JournalError, Reader, UnverifiedSegments};
use crate::order::{Log, ManualOrder, Observer, Ports};
use crate::record::{Epoch, Record, Seq};
use crate::subscription::epochs::Epochs;
use crate::subscription::latest::SliceLimits;
use crate::subscription::{Dispatcher, Hub, HubOptions};

/// The expected log, which outlives processes and learns what is durable.
pub type Truth = Arc<Mutex<Oracle>>;

/// Parameters of a start.
pub struct StartSite<'a> {
    pub root: &'a Path,
    pub first_segment_bytes: u64,
    pub config: &'a Config,
    pub index: &'a SimulatedIndex,
    pub truth: &'a Truth,
}

pub struct SimulatedProcess {
    pub order: ManualOrder<TruthfulLog, OracleObserver, IdFinder<SimulatedIndex>>,
    pub engines: IdFinder<SimulatedIndex>,
    pub hub: Arc<Hub>,
    pub dispatcher: Dispatcher,
    pub reader: Reader,
    pub epochs: Epochs,
    pub unverified: Option<UnverifiedSegments>,
    /// Maximum lag of the index behind the records since the open.
    pub lag_max: u64,
    /// Seq of the record of the open.
    pub opened_at: Seq,
    opens: Vec<Arc<Record>>,
    directory: Arc<DataDir>,
}

/// The journal, whose groups the oracle learns. It is told of the opening by what the next read of
/// the log finds, as of everything that no client proposed.
pub struct TruthfulLog {
    journal: Journal,
    truth: Truth,
    is_open: Arc<AtomicBool>,
    _directory: Arc<DataDir>,
}

impl Log for TruthfulLog {
    fn append(&mut self, records: &[Arc<Record>]) -> Result<(), AppendError> {
        if !self.is_open.load(Ordering::Relaxed) {
            return self.journal.append(records);
        }
        self.truth.lock().unwrap().in_flight = records.to_vec();
        let appended = self.journal.append(records);
        let mut truth = self.truth.lock().unwrap();
        match &appended {
            Ok(()) => truth.durable(records),
            Err(AppendError::NoSpace(_)) => truth.in_flight.clear(),
            Err(AppendError::Final(_)) => {}
        }
        appended
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.journal.has_room(bytes)
    }

    fn close(self) -> Result<(), String> {
        self.journal.close().map_err(|error| error.to_string())
    }
}

pub struct OracleObserver {
    hub: Arc<Hub>,
    truth: Truth,
    is_open: Arc<AtomicBool>,
}

impl Observer for OracleObserver {
    fn committed(&mut self, group: &[Arc<Record>]) {
        if self.is_open.load(Ordering::Relaxed) {
            let truth = self.truth.lock().unwrap();
            let last = &truth.log[truth.log.len() - group.len()..];
            assert_eq!(last, group, "only durable records are published");
        }
        self.hub.commit(group);
    }

    fn acknowledged(&mut self) {
        self.hub.wake_dispatcher();
    }
}

impl SimulatedProcess {
    /// Starts as `lifecycle::start::open` does.
    pub fn start(site: &StartSite<'_>) -> Result<Self, StartError> {
        let StartSite { root, first_segment_bytes, config, index, truth } = site;
        let directory = Arc::new(DataDir::open_sized(root, *first_segment_bytes)?);
        let applied = index.applied();
        let reached = || index.reached_seq();
        let evidence = ProjectionEvidence { applied: applied.as_ref(), confirm: Some(&reached) };
        let ReplayedLog { journal, mut restored, unverified, .. } =
            replay(&directory, config, evidence)?;
        assert!(restored.agrees(applied.as_ref()), "the index was derived from this very log");
        let reader = journal.reader();
        index.follow(reader.clone());
        let epoch = Epoch(rand::random());
        let hub =
            Hub::new(restored.latest, HubOptions { window_bytes_max: config.window_bytes, epoch });
        let (truth, index) = (Truth::clone(truth), SimulatedIndex::clone(index));
        let is_open = Arc::new(AtomicBool::new(false));
        let ports = Ports {
            log: TruthfulLog {
                journal,
                truth: truth.clone(),
                is_open: is_open.clone(),
                _directory: directory.clone(),
            },
            observer: OracleObserver { hub: hub.clone(), truth, is_open: is_open.clone() },
            ids: IdFinder::new(index.clone(), reader.clone()),
        };
        let (state, recent) = (restored.state, restored.recent);
        let (order, opening) = ManualOrder::start(ports, state, recent, opening(epoch))?;
        is_open.store(true, Ordering::Relaxed);
        for record in &opening {
            restored.epochs.restore(record.seq(), record.data()).expect("it was just written so");
        }
        restored.opens.extend(opening);
        let engines = IdFinder::new(index, reader.clone());
        let (epochs, opens) = (restored.epochs, restored.opens);
        let dispatcher = hub.dispatcher();
        let (lag_max, opened_at) = (config.max_projection_lag, reader.durable());
        Ok(Self {
            order,
            engines,
            hub,
            dispatcher,
            reader,
            epochs,
            unverified,
            lag_max,
            opened_at,
            opens,
            directory,
        })
    }

    /// The writer of snapshots.
    pub fn snapshots(&self) -> Snapshots {
        Snapshots {
            hub: self.hub.clone(),
            reader: self.reader.clone(),
            opens: self.opens.clone(),
            due_bytes: 0,
            bytes_read: 0,
            trusted: Arc::new(Mutex::new(true)),
            _directory: self.directory.clone(),
        }
    }

    /// Reads the whole durable log.
    pub fn log(&self) -> Result<Vec<Record>, JournalError> {
        let mut follower = self.reader.follow(0);
        let mut log = Vec::new();
        loop {
            let records = follower.next(4_096)?;
            if records.is_empty() {
                return Ok(log);
            }
            log.extend(records);
        }
    }

    /// Reads the latest values in small slices.
    pub fn latest(&self) -> Vec<Arc<Record>> {
        let limits = SliceLimits { examined_max: 3, bytes_max: 1_000 };
        let (mut latest, mut position): (Vec<_>, Seq) = (Vec::new(), 0);
        loop {
            let slice = self.hub.with_latest(|latest| {
                latest.after(position, limits, |record| !record.event().is_system())
            });
            latest.extend(slice.records);
            position = slice.position;
            if slice.complete {
                return latest;
            }
        }
    }

    /// Ends as a clean shutdown does.
    pub fn close(self) {
        self.hub.close();
        self.order.close();
    }
}

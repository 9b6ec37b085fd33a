//! The world of one seed: a disk, processes that start and end on it, clients, and the expected
//! log.

use std::sync::{Arc, Mutex};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::broker::lifecycle::error::StartError;
use crate::broker::simulation::damage::{Damage, StartVerdict};
use crate::broker::simulation::index::SimulatedIndex;
use crate::broker::simulation::inserts::InsertClients;
use crate::broker::simulation::oracle::Oracle;
use crate::broker::simulation::process::{SimulatedProcess, StartSite, Truth};
use crate::broker::simulation::streams::StreamClients;
use crate::config::Config;
use crate::journal::simulated::{DiskFault, Image, SimulatedDisk};
use crate::journal::{DirError, JournalError};
use crate::record::Timestamp;
use crate::subscription::latest::{LatestRecords, SliceLimits};

/// Maximum damages tried between two processes, one after the other.
const DAMAGES_MAX: usize = 3;

pub struct World<'a> {
    pub random: SmallRng,
    pub trace: &'a mut Vec<String>,
    pub disk: Arc<SimulatedDisk>,
    pub index: SimulatedIndex,
    pub truth: Truth,
    runtime: &'a Runtime,
    root: TempDir,
    config: Config,
    first_segment_bytes: u64,
    inserts: InsertClients,
    streams: StreamClients,
    clock_ms: u64,
    /// True if the last process finished all writes and the watermark is there.
    is_complete: bool,
    /// True if the current process met a fault during its start, such as a watermark that could not
    /// be written.
    start_met_fault: bool,
    backup: Option<Backup>,
}

/// A copy of the data directory, and the matching expectations.
struct Backup {
    image: Image,
    oracle: Oracle,
    index: SimulatedIndex,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProcessEnd {
    Clean,
    Kill,
    PowerCut,
}

impl<'a> World<'a> {
    pub fn new(
        seed: u64,
        parent: &std::path::Path,
        runtime: &'a Runtime,
        trace: &'a mut Vec<String>,
    ) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let root = tempfile::tempdir_in(parent).expect("a directory can be made");
        let disk = SimulatedDisk::new(root.path(), random.random());
        SimulatedDisk::install(Some(&disk));
        let config = Config {
            segment_bytes: [2_048, 4_096, 16_384][random.random_range(0..3)],
            max_projection_lag: [40, 400, 100_000][random.random_range(0..3)],
            window_bytes: [600, 4_000, 100_000][random.random_range(0..3)],
            ..Config::default()
        };
        Self {
            first_segment_bytes: [1_024, 4_096][random.random_range(0..2)],
            random,
            trace,
            disk,
            index: SimulatedIndex::new(),
            truth: Arc::new(Mutex::new(Oracle::default())),
            runtime,
            root,
            config,
            inserts: InsertClients::default(),
            streams: StreamClients::default(),
            clock_ms: 1_700_000_000_000,
            is_complete: true,
            start_met_fault: false,
            backup: None,
        }
    }

    /// Runs a random number of steps, and ends with a clean restart.
    pub fn run(&mut self) {
        let steps_max = self.random.random_range(50..300);
        let steps = self.random.random_range(50..=steps_max);
        let mut process = self.start();
        for _ in 0..steps {
            let step = self.step(&mut process);
            self.record_step(step);
            process = match process.order.has_failed() || self.disk.is_dead() {
                true => self.end_in_failure(process),
                false if self.random.random_bool(0.04) => self.end_at_random(process),
                false => process,
            };
        }
        self.disk.take_faults();
        self.check(&mut process);
        process.close();
        self.disk.restart();
        let process = self.start();
        drop(process);
    }

    fn step(&mut self, process: &mut SimulatedProcess) -> String {
        self.advance_clock();
        let Self { random, disk, index, truth, runtime, inserts, streams, .. } = self;
        match random.random_range(0..100) {
            0..45 => inserts.insert(random, process, truth, (index, disk)),
            45..55 => {
                process.dispatcher.dispatch_pending();
                "dispatch".to_owned()
            }
            55..74 => streams.step(random, process, &truth.lock().unwrap(), runtime),
            74..86 => {
                index.step(random);
                format!("index to {:?}", index.applied().map(|applied| applied.seq))
            }
            86..90 => self.snapshot(process),
            90..96 => {
                let fault = fault(random);
                let operations = random.random_range(0..24);
                disk.plan(fault, operations);
                format!("{fault:?} in {operations}")
            }
            96 => self.copy_while_running(process),
            97 => {
                self.check(process);
                "check".to_owned()
            }
            _ => {
                let Some(unverified) = process.unverified.take() else {
                    return "verify".to_owned();
                };
                let finished = unverified.verify(&mut |_| true);
                assert!(finished.expect("the log is intact"), "nothing stopped it");
                "verified".to_owned()
            }
        }
    }

    /// Writes a snapshot in slices, with inserts between them.
    fn snapshot(&mut self, process: &mut SimulatedProcess) -> String {
        let limits = SliceLimits { examined_max: 3, bytes_max: 2_000 };
        let Self { random, disk, truth, inserts, index, .. } = self;
        let snapshots = process.snapshots();
        let written = snapshots.write(limits, &mut || {
            if random.random_bool(0.3) {
                inserts.insert(random, process, truth, (index, disk));
            }
            !process.order.has_failed()
        });
        format!("snapshot: {written:?}")
    }

    /// Moves the clock, mostly forward.
    fn advance_clock(&mut self) {
        self.clock_ms = match self.random.random_range(0..50) {
            0 => self.clock_ms - 5_000,
            1 => self.clock_ms + 3_600_000,
            _ => self.clock_ms + self.random.random_range(0..3),
        };
        Timestamp::set_clock(Some(Timestamp::from_millis(self.clock_ms)));
    }

    /// Checks everything that can be read now.
    fn check(&mut self, process: &mut SimulatedProcess) {
        let log = process.log().expect("an intact log can be read");
        self.truth.lock().unwrap().check_log(&log);
        self.check_derived(process);
    }

    /// Checks everything that is derived from the log.
    fn check_derived(&mut self, process: &mut SimulatedProcess) {
        let truth = self.truth.lock().unwrap();
        let mut latest: Vec<_> = truth.latest().into_values().collect();
        latest.sort_by_key(|record| record.seq());
        assert_eq!(process.latest(), latest, "the latest values are the fold of the log");
        let public = latest.iter().filter(|record| record.to().is_none()).count();
        assert_eq!(process.hub.with_latest(LatestRecords::public_count), public);
        if let Some(applied) = self.index.applied() {
            assert_eq!(applied.chain, truth.chain_after(applied.seq));
        }
        self.streams.check_at_rest(&mut self.random, process, &truth, self.runtime);
    }

    fn end_in_failure(&mut self, process: SimulatedProcess) -> SimulatedProcess {
        let end = if self.random.random() { ProcessEnd::Kill } else { ProcessEnd::PowerCut };
        self.end(process, end);
        self.start()
    }

    fn end_at_random(&mut self, process: SimulatedProcess) -> SimulatedProcess {
        let end = [ProcessEnd::Clean, ProcessEnd::Kill, ProcessEnd::PowerCut]
            [self.random.random_range(0..3)];
        self.end(process, end);
        if end == ProcessEnd::Clean && self.random.random() {
            let step = self.take_backup();
            self.record_step(step);
        }
        match self.random.random_range(0..10) {
            0 | 5 if self.backup.is_some() => self.roll_back(),
            1..5 => {
                for _ in 0..DAMAGES_MAX {
                    if let Some(recovered) = self.damage() {
                        return recovered;
                    }
                }
            }
            _ => {}
        }
        self.start()
    }

    fn end(&mut self, process: SimulatedProcess, end: ProcessEnd) {
        let met = self.disk.take_faults();
        self.record_step(format!("{end:?} after {met:?}, operation {}", self.disk.operations()));
        match end {
            ProcessEnd::Clean => process.close(),
            ProcessEnd::Kill | ProcessEnd::PowerCut => {
                self.disk.die();
                drop(process);
            }
        }
        self.streams.end();
        self.inserts.drop_pending();
        self.index.end(&mut self.random);
        let has_in_flight = !self.truth.lock().unwrap().in_flight.is_empty();
        let is_faultless = met.is_empty() && !self.start_met_fault;
        self.is_complete = end != ProcessEnd::PowerCut && is_faultless && !has_in_flight;
        self.disk_after(end);
    }

    fn disk_after(&mut self, end: ProcessEnd) {
        match end {
            ProcessEnd::PowerCut => self.disk.cut_power(),
            ProcessEnd::Clean | ProcessEnd::Kill => self.disk.restart(),
        }
    }

    /// Starts a process, perhaps after failed attempts, and checks what it recovered.
    fn start(&mut self) -> SimulatedProcess {
        for attempt in 0.. {
            let with_fault = attempt < 3 && self.random.random_bool(0.3);
            if with_fault {
                let fault = fault(&mut self.random);
                let operations = self.random.random_range(0..40);
                self.disk.plan(fault, operations);
                self.record_step(format!("start, {fault:?} in {operations}"));
            }
            self.advance_clock();
            let started = self.try_start(&self.truth);
            let met = self.disk.take_faults();
            match started {
                Ok(mut process) if !self.disk.is_dead() => {
                    self.start_met_fault = !met.is_empty();
                    let log = process.log().expect("an intact log can be read");
                    self.truth.lock().unwrap().recovered(&log);
                    let (head, index) = (log.len(), self.index.applied().map(|index| index.seq));
                    self.record_step(format!(
                        "started at {head} after {met:?}, index at {index:?}"
                    ));
                    self.check_derived(&mut process);
                    return process;
                }
                Ok(process) => drop(process),
                Err(error) => {
                    assert!(!met.is_empty(), "refused without a fault: {error}");
                    assert!(!is_damage(&error), "reported damage where there is none: {error}");
                }
            }
            self.truth.lock().unwrap().start_failed = true;
            let end = if self.random.random() { ProcessEnd::Kill } else { ProcessEnd::PowerCut };
            self.record_step(format!("start failed in {met:?}, {end:?}"));
            self.disk.die();
            self.disk_after(end);
        }
        unreachable!("a start without a fault succeeds")
    }

    pub fn try_start(&self, truth: &Truth) -> Result<SimulatedProcess, StartError> {
        SimulatedProcess::start(&StartSite {
            root: self.root.path(),
            first_segment_bytes: self.first_segment_bytes,
            config: &self.config,
            index: &self.index,
            truth,
        })
    }

    fn take_backup(&mut self) -> String {
        self.backup = Some(Backup {
            image: self.disk.image(),
            oracle: self.truth.lock().unwrap().clone(),
            index: self.index.copy(),
        });
        "backup".to_owned()
    }

    /// Takes a backup like a file system snapshot. Cursors of the running process may be ahead of
    /// it.
    fn copy_while_running(&mut self, process: &SimulatedProcess) -> String {
        if process.order.has_failed() || self.disk.is_dead() {
            return "no backup".to_owned();
        }
        let step = self.take_backup();
        let index = self.backup.as_ref().expect("it was just made").index.clone();
        index.end(&mut self.random);
        step
    }

    /// Replaces the directory by an older copy.
    fn roll_back(&mut self) {
        let Some(backup) = self.backup.take() else { return };
        self.record_step(format!("roll back to {}", backup.oracle.log.len()));
        self.disk.replace(&backup.image);
        let old = backup.oracle.log.len() as u64;
        if self.index.applied().is_some_and(|applied| applied.seq > old) {
            // If the index is opened late and knows of less, the loss is found then, which is not
            // modelled.
            let error = self.try_start(&self.truth).err().expect("the index knows of more records");
            assert!(is_damage(&error), "{error}");
            self.disk.replace(&backup.image);
        }
        self.index = backup.index;
        self.truth = Arc::new(Mutex::new(backup.oracle));
        self.inserts.clear();
        self.is_complete = true;
    }

    /// Damages a file and checks how a start reacts. If it does not need the damaged part it goes
    /// on; otherwise the file is repaired.
    fn damage(&mut self) -> Option<SimulatedProcess> {
        let intact = self.disk.image();
        let damage = Damage::draw(&mut self.random, &intact)?;
        self.record_step(format!("damage {damage:?}"));
        self.disk.replace(&damage.image(&intact));
        match damage.judge(self, &intact, self.is_complete) {
            StartVerdict::Recovered(process, truth) => {
                self.record_step("recovered".to_owned());
                let mut process = *process;
                self.truth = truth;
                self.start_met_fault = false;
                self.check_derived(&mut process);
                Some(process)
            }
            StartVerdict::Reported => {
                self.disk.replace(&intact);
                None
            }
        }
    }

    fn record_step(&mut self, step: String) {
        self.trace.push(step);
    }
}

/// True if an error says that the content of the disk is not what was written.
pub fn is_damage(error: &StartError) -> bool {
    matches!(
        error,
        StartError::Directory(DirError::Identity { .. } | DirError::Foreign { .. })
            | StartError::Journal(
                JournalError::Damage { .. }
                    | JournalError::DamagedRecord { .. }
                    | JournalError::Record { .. }
            )
    )
}

fn fault(random: &mut SmallRng) -> DiskFault {
    match random.random_range(0..7) {
        0 => DiskFault::NoSpace,
        1 | 2 => DiskFault::Sync,
        3 => DiskFault::Write,
        _ => DiskFault::Death,
    }
}

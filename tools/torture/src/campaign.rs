//! Runs campaigns: hands their cases to worker threads, and keeps the directories of failed cases.
//!
//! Cases are independent and each has its own seed, so that a failed one can be repeated.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use broker_tools::Result;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::disk::Disk;
use crate::files;
use crate::ledger::{CheckCounts, Ledger};
use crate::report::{CampaignOutcome, Failure, Report};
use crate::server;
use crate::shim::Tools;

/// The duration that `Campaign::hour` refers to: the simulation takes a sixth of an hour.
const HOUR: Duration = Duration::from_secs(3_000);
/// Cases at a time. They mostly wait for disks and timeouts, so there are more than processors.
const WORKERS: usize = 5;
/// A campaign stops after this many failures.
const FAILURES_MAX: usize = 10;
/// Size of the memory file system; more than all workers need.
const MEMORY_BYTES: u64 = 4 << 30;
const PROGRESS_EVERY: Duration = Duration::from_secs(30);

/// One kind of fault.
pub struct Campaign {
    /// Its name on the command line.
    pub name: &'static str,
    /// The unit of its counts.
    pub unit: &'static str,
    /// Count for `make test`.
    pub ci: usize,
    /// Count for an hour of `make torture`.
    pub hour: usize,
    /// Its share of the total time, in percent.
    pub share: u32,
    /// Whether it mounts file systems.
    pub mounts: bool,
    /// Where the directories of its cases are.
    pub storage: Storage,
    /// Runs one case.
    pub run: fn(&mut Case<'_>) -> Result,
}

/// Where the directories of cases are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Alternately in memory and on disk.
    Both,
    /// On the disk of the build directory.
    Disk,
    /// In memory if mounting is permitted: for faults that do not depend on what a sync does.
    Memory,
}

/// How much to run.
pub struct Plan {
    /// Whether to run the short slice of `make test`.
    pub ci: bool,
    /// Overrides the count of each campaign.
    pub count: Option<usize>,
    /// Approximate duration of all campaigns together.
    pub duration: Duration,
    /// Runs only this case.
    pub case: Option<u64>,
    /// Determines everything random, except the timing of processes.
    pub seed: u64,
}

/// One case of a campaign.
pub struct Case<'a> {
    /// The random source of the case.
    pub random: StdRng,
    /// Its number.
    pub index: u64,
    /// A directory of its own.
    pub dir: PathBuf,
    /// The compiled helpers.
    pub tools: &'a Tools,
    run: &'a CampaignRun<'a>,
}

/// What all campaigns share.
struct Environment<'a> {
    tools: Tools,
    scratch: &'a Path,
    /// A file system in memory, if it could be mounted.
    memory: Option<Disk>,
}

/// What the cases of a campaign share.
struct CampaignRun<'a> {
    campaign: &'a Campaign,
    environment: &'a Environment<'a>,
    seed: u64,
    target: usize,
    deadline: Instant,
    done: AtomicUsize,
    cases: AtomicU64,
    tally: Mutex<BTreeMap<String, usize>>,
    failures: Mutex<Vec<Failure>>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { ci: false, count: None, duration: HOUR, case: None, seed: rand::random() }
    }
}

impl Case<'_> {
    /// Whether the campaign has to inject more faults.
    pub fn has_more(&self) -> bool {
        self.run.has_more()
    }

    /// Counts a fault after which every check passed.
    pub fn survived(&self, what: impl Into<String>) {
        self.run.done.fetch_add(1, Ordering::Relaxed);
        self.note(what);
    }

    /// Counts something for the report that is not a fault.
    pub fn note(&self, what: impl Into<String>) {
        self.note_many(what, 1);
    }

    /// Adds the ledger's counts of checks to the report, and resets them.
    pub fn count_checks(&self, ledger: &mut Ledger) {
        let CheckCounts { logs, reconnects } = std::mem::take(&mut ledger.checks);
        self.note_many("complete logs that contained everything read before", logs);
        self.note_many(
            "subscribers that reconnected and received exactly what was newer",
            reconnects,
        );
    }

    fn note_many(&self, what: impl Into<String>, count: usize) {
        *self.run.tally.lock().expect("workers do not panic").entry(what.into()).or_default() +=
            count;
    }
}

/// Runs campaigns one after the other.
pub fn run_all(campaigns: &[&Campaign], plan: &Plan) -> Result<Report> {
    server::binary()?;
    let program = std::env::current_exe()?;
    let scratch = program.with_file_name(format!("torture-{}", std::process::id()));
    fs::create_dir(&scratch)?;
    println!("seed {}", plan.seed);
    let (tools, memory) = (Tools::build(&scratch)?, Disk::tmpfs(&scratch, MEMORY_BYTES).ok());
    let environment = Environment { tools, scratch: &scratch, memory };
    let mut report = Report::new(plan.seed);
    let shares: u32 = campaigns.iter().map(|campaign| campaign.share).sum();
    for campaign in campaigns {
        let time = plan.duration.mul_f64(f64::from(campaign.share) / f64::from(shares));
        let outcome = run(campaign, plan, time, &environment);
        if campaigns.len() > 1 {
            print!("{outcome}");
        }
        report.add(outcome);
    }
    drop(environment);
    // Failed cases stay; otherwise the directory contains only the helpers.
    if report.passed() {
        fs::remove_dir_all(&scratch)?;
    }
    Ok(report)
}

fn run(
    campaign: &Campaign,
    plan: &Plan,
    time: Duration,
    environment: &Environment<'_>,
) -> CampaignOutcome {
    let hours = plan.duration.as_secs_f64() / HOUR.as_secs_f64();
    let target = match (plan.count, plan.ci) {
        (Some(count), _) => count,
        (None, true) => campaign.ci,
        (None, false) => (campaign.hour as f64 * hours).ceil() as usize,
    };
    let started = Instant::now();
    let run = CampaignRun {
        campaign,
        environment,
        seed: plan.seed,
        target,
        deadline: started + if plan.ci || plan.case.is_some() { time.max(HOUR) } else { time },
        done: AtomicUsize::new(0),
        cases: AtomicU64::new(plan.case.unwrap_or(0)),
        tally: Mutex::default(),
        failures: Mutex::default(),
    };
    let not_run = if campaign.mounts { cannot_mount(environment.scratch) } else { None };
    if not_run.is_none() {
        let workers = if plan.case.is_some() { 1 } else { WORKERS };
        thread::scope(|scope| {
            let workers: Vec<_> =
                (0..workers).map(|_| scope.spawn(|| run.work(plan.case))).collect();
            let mut last_progress = Instant::now();
            while workers.iter().any(|worker| !worker.is_finished()) {
                thread::park_timeout(Duration::from_millis(50));
                if last_progress.elapsed() >= PROGRESS_EVERY {
                    last_progress = Instant::now();
                    let (done, failed) = (run.done.load(Ordering::Relaxed), run.failed());
                    let name = campaign.name;
                    println!("{name}: {done} of {target} {}, {failed} failed", campaign.unit);
                }
            }
        });
    }
    let failures = run.failures.into_inner().expect("workers do not panic");
    CampaignOutcome {
        name: campaign.name,
        unit: campaign.unit,
        target,
        done: run.done.into_inner(),
        cases: run.cases.into_inner(),
        elapsed: started.elapsed(),
        tally: run.tally.into_inner().expect("workers do not panic"),
        failures,
        not_run,
    }
}

impl CampaignRun<'_> {
    fn has_more(&self) -> bool {
        self.done.load(Ordering::Relaxed) < self.target
            && Instant::now() < self.deadline
            && self.failed() < FAILURES_MAX
    }

    fn failed(&self) -> usize {
        self.failures.lock().expect("workers do not panic").len()
    }

    fn work(&self, only: Option<u64>) {
        while self.has_more() {
            let index = self.cases.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = self.run(index) {
                let dir = self.keep(index);
                let message = error.to_string();
                let replay = format!(
                    "broker-torture {} --seed {} --case {index}",
                    self.campaign.name, self.seed
                );
                let failure = Failure { message, replay, kept: dir };
                println!("{}: {failure}", self.campaign.name);
                self.failures.lock().expect("workers do not panic").push(failure);
            }
            if only.is_some() {
                return;
            }
        }
    }

    fn run(&self, index: u64) -> Result {
        let dir = self.dir(index);
        fs::create_dir(&dir)?;
        let name = self.campaign.name.bytes().fold(0, |sum, byte| sum * 31 + u64::from(byte));
        let seed = self.seed ^ name.rotate_left(32) ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let random = StdRng::seed_from_u64(seed);
        let mut case =
            Case { random, index, dir: dir.clone(), tools: &self.environment.tools, run: self };
        (self.campaign.run)(&mut case)?;
        Ok(fs::remove_dir_all(&dir)?)
    }

    fn dir(&self, index: u64) -> PathBuf {
        let in_memory = match self.campaign.storage {
            Storage::Both => index.is_multiple_of(2),
            Storage::Disk => false,
            Storage::Memory => true,
        };
        let Environment { scratch, memory, .. } = self.environment;
        let memory = memory.as_ref().map(Disk::path).filter(|_| in_memory);
        memory.unwrap_or(scratch).join(self.name(index))
    }

    fn name(&self, index: u64) -> String {
        format!("{}-{index}", self.campaign.name)
    }

    /// Copies the directory of a failed case to a location that outlives this run.
    fn keep(&self, index: u64) -> PathBuf {
        let (dir, kept) = (self.dir(index), self.environment.scratch.join(self.name(index)));
        if dir != kept && files::copy_all(&dir, &kept).is_ok() {
            // The copy is kept.
            let _ = fs::remove_dir_all(&dir);
        }
        kept
    }
}

/// Says what is missing for campaigns that mount file systems, if anything.
fn cannot_mount(scratch: &Path) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it mounts file systems, which needs root: sudo make torture".to_owned());
    }
    for (tool, package) in [("mkfs.ext4", "e2fsprogs"), ("mount", "mount")] {
        if Command::new(tool).arg("-V").output().is_err() {
            return Some(format!("{tool} is missing: apt-get install {package}"));
        }
    }
    let probe = || -> Result {
        let dir = scratch.join("probe");
        fs::create_dir(&dir)?;
        let mounted = Disk::ext4(&dir)?;
        drop(mounted);
        Ok(fs::remove_dir_all(&dir)?)
    };
    probe().err().map(|error| format!("loop devices cannot be mounted here: {error}"))
}

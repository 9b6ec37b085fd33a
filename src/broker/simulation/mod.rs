//! Simulation of order, decide, journal, ids, latest values and subscribers in one thread, on a
//! disk that tears, loses, reorders and fails writes, from one seed.
//!
//! **Owns** the world (`world`), its clients (`inserts`, `streams`), the expected behaviour
//! (`oracle`), and damage to the disk (`damage`; faults, kills and power cuts are in
//! `journal/disk/simulated`).
//!
//! **Promises** that a seed always replays the same run: there is one random number generator for
//! the world and one for the disk, the world sets the clock, append permits are taken by hand, and
//! the thread that preallocates a segment is waited for. Values that production code draws at
//! random, the log's id and the epochs and salts of opens, influence nothing but bytes.
//!
//! **Checks** that
//! - every acknowledged record is there once, with the same bytes, version and hash, in every later
//!   read; nothing that was visible disappears;
//! - a group with an unknown outcome is there at most once and only as a whole, and a retry returns
//!   what the log holds;
//! - versions are 1..n, ids are unique, times never fall, and every answer of the fold equals that
//!   of a simpler model;
//! - no stream gets a record that is not durable; a stream never goes back, and at rest it has the
//!   latest of everything it may see, or all of it; a cursor of a history that was rolled back is
//!   rejected;
//! - after a fault there is the right state or an explicit error; a start is refused only for
//!   damage, and the damage is named.
//!
//! **Does not** simulate sled, which has its own threads: `index` models the projection, behind the
//! trait that the order uses, as a map that lags, goes back, is lost and is rebuilt. The real
//! projection has its own tests.
//!
//! `BROKER_SIM_SEED=n` replays one seed and prints all of its steps (with `--no-capture`).
//! `BROKER_SIM_SEEDS=count` sets the number of seeds. `BROKER_SIM_SECONDS=seconds` runs new seeds
//! for that long, starting at `BROKER_SIM_FIRST=n` if it is set, prints progress, and appends the
//! result of each test to the file `BROKER_SIM_REPORT`, as a line of JSON.

mod damage;
mod index;
mod inserts;
mod oracle;
mod process;
mod streams;
mod world;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::broker::simulation::world::World;
use crate::journal::simulated::SimulatedDisk;
use crate::record::Timestamp;

/// Seeds in an ordinary test run.
const SEEDS: u64 = 2_000;
/// Tests that share the seeds and run in parallel.
const SHARES: u64 = 4;
/// Steps printed for a failed seed, unless it is replayed alone.
const STEPS_PRINTED: usize = 30;
/// Time between two progress lines.
const PROGRESS_SECONDS: u64 = 30;

/// A directory in memory, if the system has one.
fn parent() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

/// Runs one seed.
fn run_seed(seed: u64, steps_printed: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut trace = Vec::new();
    let passed = catch_unwind(AssertUnwindSafe(|| {
        World::new(seed, &parent(), &runtime, &mut trace).run();
    }));
    SimulatedDisk::install(None);
    Timestamp::set_clock(None);
    if passed.is_err() {
        eprintln!("seed {seed} failed in step {}; replay it with", trace.len());
        eprintln!("  BROKER_SIM_SEED={seed} cargo test --lib simulation");
    }
    if passed.is_err() || steps_printed == usize::MAX {
        let first = trace.len().saturating_sub(steps_printed);
        trace[first..].iter().for_each(|step| eprintln!("  {step}"));
    }
    passed.unwrap_or_else(|panic| resume_unwind(panic));
}

/// Runs every `SHARES`th seed.
fn run_share(share: u64) {
    if let Some(seed) = setting("BROKER_SIM_SEED") {
        if share == 0 {
            run_seed(seed, usize::MAX);
        }
        return;
    }
    let Some(seconds) = setting("BROKER_SIM_SECONDS") else {
        let seeds = setting("BROKER_SIM_SEEDS").unwrap_or(SEEDS);
        (share..seeds).step_by(SHARES as usize).for_each(|seed| run_seed(seed, STEPS_PRINTED));
        return;
    };
    run_seeds_for(Duration::from_secs(seconds), share);
}

/// Runs new seeds until the time is up, and reports.
fn run_seeds_for(limit: Duration, share: u64) {
    static SEEDS_RUN: AtomicU64 = AtomicU64::new(0);
    static LINES_PRINTED: AtomicU64 = AtomicU64::new(0);
    let began = Instant::now();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let first = setting("BROKER_SIM_FIRST").unwrap_or(now << 24).saturating_add(share);
    let (mut passed, mut failure) = (0, None);
    for seed in (first..).step_by(SHARES as usize) {
        if began.elapsed() >= limit {
            break;
        }
        if let Err(panic) = catch_unwind(|| run_seed(seed, STEPS_PRINTED)) {
            failure = Some((seed, panic));
            break;
        }
        passed += 1;
        let all = SEEDS_RUN.fetch_add(1, Ordering::Relaxed) + 1;
        let (elapsed, limit) = (began.elapsed().as_secs(), limit.as_secs());
        let due = elapsed / PROGRESS_SECONDS;
        if LINES_PRINTED.fetch_max(due, Ordering::Relaxed) < due {
            eprintln!("simulation: {all} seeds in {elapsed} of {limit} s");
        }
    }
    eprintln!("{passed} seeds, starting at {first}");
    if let Some(path) = std::env::var_os("BROKER_SIM_REPORT") {
        let line = serde_json::json!({
            "lived": passed,
            "seconds": began.elapsed().as_secs_f64(),
            "failed": failure.as_ref().map(|(seed, _)| seed),
        });
        let file = OpenOptions::new().append(true).create(true).open(path);
        // All four tests end at the same time; a line is a single write, so lines do not
        // interleave.
        let line = format!("{line}\n");
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("the report can be written");
    }
    if let Some((_, panic)) = failure {
        resume_unwind(panic);
    }
}

#[test]
fn first_quarter_of_the_seeds_survives_all_faults() {
    run_share(0);
}

#[test]
fn second_quarter_of_the_seeds_survives_all_faults() {
    run_share(1);
}

#[test]
fn third_quarter_of_the_seeds_survives_all_faults() {
    run_share(2);
}

#[test]
fn fourth_quarter_of_the_seeds_survives_all_faults() {
    run_share(3);
}

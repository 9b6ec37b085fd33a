//! Broker beside what else one would take: Redis, NATS JetStream and PocketBase, each on loopback
//! and set so that what it acknowledged survives a loss of power, under the load of one tool.
//!
//! They are no equals: none of the others checks and numbers what it takes, chains it, or pushes
//! the newest version to whoever comes. Each is given what is asked of all: the same values, and an
//! answer when they are synced.

mod single;
mod bursts;
mod nats;
mod pocketbase;
mod redis;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nats::Nats;
use redis::Redis;

use crate::Result;
use crate::protocol::HttpRequests;
use crate::report::Report;
use crate::workload::Workload;

const EVENTS: usize = 1_000;

/// The programs that are compared with.
#[derive(Default)]
pub struct Programs {
    /// `nats-server`.
    pub nats: Option<PathBuf>,
    /// `pocketbase`.
    pub pocketbase: Option<PathBuf>,
    /// `redis-server`.
    pub redis: Option<PathBuf>,
}

/// Measures and reports; a burst takes so long.
pub fn run(programs: &Programs, burst: Duration, report: &mut Report) -> Result<()> {
    let redis = absolute(&programs.redis, "redis-server: --redis")?;
    let nats = absolute(&programs.nats, "nats-server: --nats")?;
    let pocketbase = absolute(&programs.pocketbase, "pocketbase: --pocketbase")?;
    let (redis, nats, pocketbase) = (redis.as_path(), nats.as_path(), pocketbase.as_path());
    for (name, program) in [("redis", redis), ("nats", nats), ("pocketbase", pocketbase)] {
        let output = Command::new(program).arg("--version").output()?;
        report.note(name, String::from_utf8_lossy(&output.stdout).trim());
    }
    single::run(redis, report)?;
    bursts::run(&bursts::Peers { redis, nats, pocketbase }, burst, report)
}

/// Where a program is, wherever it will run. Links stay: Redis goes by the name that it is run by.
fn absolute(program: &Option<PathBuf>, wanted: &str) -> Result<PathBuf> {
    let program = program.as_ref().ok_or_else(|| format!("say where {wanted} FILE"))?;
    Ok(std::path::absolute(program)?)
}

/// Requests for Broker and the bare handler.
fn broker(seed: u64) -> HttpRequests {
    let mut workload = Workload::new(seed);
    HttpRequests::new((0..EVENTS).map(|event| workload.insert(event)).collect(), 201)
}

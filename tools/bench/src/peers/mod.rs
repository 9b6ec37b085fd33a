//! Broker and alternatives to it: Redis, NATS JetStream and PocketBase, each on loopback, under the
//! same load, and configured so that what it acknowledged survives a power loss.
//!
//! They are not equivalent: none of the others checks, numbers and chains what it stores, or pushes
//! the latest version to every new client. Each gets the same values, and answers when they are
//! synced.

mod bursts;
mod nats;
mod pocketbase;
mod redis;
mod single;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use broker_tools::Result;
use broker_tools::report::Report;

/// The programs to compare with.
#[derive(Default)]
pub struct Programs {
    /// `nats-server`.
    pub nats: Option<PathBuf>,
    /// `pocketbase`.
    pub pocketbase: Option<PathBuf>,
    /// `redis-server`.
    pub redis: Option<PathBuf>,
}

/// Measures and reports, with bursts of this duration.
pub fn run(programs: &Programs, burst: Duration, report: &mut Report) -> Result<()> {
    let redis = absolute(programs.redis.as_ref(), "redis-server: --redis")?;
    let nats = absolute(programs.nats.as_ref(), "nats-server: --nats")?;
    let pocketbase = absolute(programs.pocketbase.as_ref(), "pocketbase: --pocketbase")?;
    let (redis, nats, pocketbase) = (redis.as_path(), nats.as_path(), pocketbase.as_path());
    for (name, program) in [("redis", redis), ("nats", nats), ("pocketbase", pocketbase)] {
        let output = Command::new(program).arg("--version").output()?;
        report.note(name, String::from_utf8_lossy(&output.stdout).trim());
    }
    single::run(redis, report)?;
    bursts::run(&bursts::Peers { nats, pocketbase, redis }, burst, report)
}

/// The absolute path of a program. Links are kept, because Redis goes by the name it is run by.
fn absolute(program: Option<&PathBuf>, wanted: &str) -> Result<PathBuf> {
    let program = program.ok_or_else(|| format!("say where {wanted} FILE"))?;
    Ok(std::path::absolute(program)?)
}

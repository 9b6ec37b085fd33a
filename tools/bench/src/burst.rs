//! A burst: 64 connections for ten seconds, with the load on the same processors.

use std::time::Duration;

use broker_tools::Result;
use broker_tools::report::{Goal, Report};
use broker_tools::scratch::Scratch;
use broker_tools::server::Server;
use broker_tools::statistics::{quantile, ratios};

use crate::load::{self, Outcome};
use crate::protocol::{HttpRequests, Protocol};
use crate::servers;

const CONNECTIONS: usize = 64;
const DURATION: Duration = Duration::from_secs(10);
/// Shorter, because a server without a disk settles sooner.
const BARE_DURATION: Duration = Duration::from_secs(4);
const RUNS: usize = 3;

/// Two processors are 2,000,000 CPU-µs a second. An insert costs the bare handler's 8, the log's 3,
/// 6 more for checking, hashing and encoding, and the load's 4: 21, because the projection pauses
/// during a burst. That would be 95,000, less a third for switching between threads and for the
/// time in which all wait for the disk. The 64 inserts in flight then take 64 / 60,000 s.
const ESTIMATE_PER_SECOND: f64 = 60_000.0;
const ESTIMATE_P50_US: f64 = 1_000.0;
/// Some syncs take ten times as long as usual.
const ESTIMATE_P99_US: f64 = 4_000.0;
/// 134,000 in the engineering facts, with another load tool.
const ESTIMATE_BARE: f64 = 130_000.0;

/// Measures and reports.
pub fn run(report: &mut Report) -> Result<()> {
    let requests = HttpRequests::inserts(2);
    let (mut bare, mut broker) = (Runs::default(), Runs::default());
    for _ in 0..RUNS {
        bare.add(&servers::bare()?, CONNECTIONS, BARE_DURATION, &requests)?;
        // A new log each time, so that all runs do the same.
        let scratch = Scratch::new()?;
        broker.add(&Server::broker(&scratch, &[])?, CONNECTIONS, DURATION, &requests)?;
    }
    let per_second = |runs: &Runs| runs.of(|outcome| outcome.per_second);
    let ratio = ratios(&per_second(&broker), &per_second(&bare));
    let name = "burst";
    report.add(name, "bare handler, answered", "/s", &per_second(&bare)).estimate(ESTIMATE_BARE);
    report.add(name, "bare handler, CPU a request", "us", &bare.server_cpu_us).estimate(8.0);
    report.add(name, "load tool, CPU a request", "us", &bare.of(|o| o.cpu_us)).estimate(4.0);
    let acknowledged = report.add(name, "broker, acknowledged", "/s", &per_second(&broker));
    acknowledged.estimate(ESTIMATE_PER_SECOND).goal(Goal::AtLeast(40_000.0));
    report.add(name, "broker / bare handler", "x", &ratio).estimate(0.46);
    report.add(name, "broker, CPU an insert", "us", &broker.server_cpu_us).estimate(25.0);
    let p50 = broker.of(|outcome| quantile(&outcome.latencies_us, 0.50));
    report.add(name, "broker, p50", "us", &p50).estimate(ESTIMATE_P50_US);
    let p99 = broker.of(|outcome| quantile(&outcome.latencies_us, 0.99));
    report.add(name, "broker, p99", "us", &p99).estimate(ESTIMATE_P99_US);
    Ok(())
}

/// The outcomes of a server's runs.
#[derive(Default)]
pub struct Runs {
    outcomes: Vec<Outcome>,
    /// CPU time of the server for a request, by run.
    pub server_cpu_us: Vec<f64>,
}

impl Runs {
    /// Loads a server for a time; it must not refuse anything.
    pub fn add(
        &mut self,
        server: &Server,
        connections: usize,
        duration: Duration,
        protocol: &dyn Protocol,
    ) -> Result<()> {
        let before = server.cpu()?;
        let outcome = load::run(server.address, connections, duration, protocol)?;
        let used = server.cpu()?.saturating_sub(before).as_secs_f64() * 1e6;
        if outcome.refused > 0 {
            return Err(format!("{} inserts were refused", outcome.refused).into());
        }
        self.server_cpu_us.push(used / outcome.latencies_us.len() as f64);
        self.outcomes.push(outcome);
        Ok(())
    }

    /// A figure of each run.
    pub fn of(&self, figure: impl Fn(&Outcome) -> f64) -> Vec<f64> {
        self.outcomes.iter().map(figure).collect()
    }
}

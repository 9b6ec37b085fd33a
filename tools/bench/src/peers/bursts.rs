//! Many connections for a short time. Each server is started again in each round, so that all do
//! the same on the same disk. The goal is to beat Redis; 1.25 times as much is hoped for.

use std::path::Path;
use std::time::Duration;

use broker_tools::Result;
use broker_tools::report::{Goal, Report};
use broker_tools::scratch::Scratch;
use broker_tools::server::Server;
use broker_tools::statistics::{quantile, ratios};

use crate::burst::Runs;
use crate::peers::nats::Nats;
use crate::peers::pocketbase;
use crate::peers::redis::Redis;
use crate::protocol::{HttpRequests, Protocol};
use crate::servers;

const ROUNDS: usize = 3;
const FEW: usize = 64;
const MANY: usize = 256;

/// Shorter for the bare handler, which has no disk, and for the slow servers, which change little:
/// they settle sooner.
const SHORT_MAX: Duration = Duration::from_secs(4);

/// The burst bench's estimate of 60,000, corrected by its error, 55,600.
const ESTIMATE_BROKER: f64 = 56_000.0;
/// With 256, more requests share a read, a group and a sync.
const ESTIMATE_BROKER_MANY: f64 = 60_000.0;
/// One thread takes 6 µs a command, and syncs once for all waiting ones: 64 take 400 µs, and
/// syncing a file that grows takes 250, while the load sends what it can: at most 64 / 650 µs.
const ESTIMATE_REDIS: f64 = 80_000.0;
/// 256 / 1,800 µs would be 140,000; less, because the load takes 4 µs on the same two processors.
const ESTIMATE_REDIS_MANY: f64 = 100_000.0;
/// A sync of a file that grows for each message: 200 µs, and 50 of Go.
const ESTIMATE_NATS: f64 = 4_000.0;
/// A transaction for each record: 200 µs of sync, 400 of hooks, validation, JSON and `SQLite`.
const ESTIMATE_POCKETBASE: f64 = 1_500.0;
/// 64 in flight at 56,000 a second take 1.1 ms, and sometimes 3.5 times that; Redis 0.8 and 3.
const ESTIMATE_P99: f64 = 1.33;

/// The programs that Broker is compared with.
pub struct Peers<'a> {
    /// `nats-server`.
    pub nats: &'a Path,
    /// `pocketbase`.
    pub pocketbase: &'a Path,
    /// `redis-server`.
    pub redis: &'a Path,
}

/// Measures and reports, with bursts of this duration.
pub fn run(peers: &Peers<'_>, burst: Duration, report: &mut Report) -> Result<()> {
    let requests = HttpRequests::inserts(2);
    let redis_protocol = Redis::new(2);
    let nats_protocol = Nats::new(2);
    let pocketbase_protocol = pocketbase::requests(2);
    let short = burst.min(SHORT_MAX);
    let [mut bare, mut ours, mut redis, mut nats, mut pocketbase] =
        [(); 5].map(|()| Runs::default());
    let [mut ours_many, mut redis_many] = [(); 2].map(|()| Runs::default());
    for _ in 0..ROUNDS {
        run_once(&mut bare, |_| servers::bare(), FEW, short, &requests)?;
        let start_ours = |scratch: &Scratch| Server::broker(scratch, &[]);
        let start_redis = |scratch: &Scratch| Redis::start(peers.redis, scratch);
        run_once(&mut ours, start_ours, FEW, burst, &requests)?;
        run_once(&mut redis, start_redis, FEW, burst, &redis_protocol)?;
        run_once(&mut ours_many, start_ours, MANY, burst, &requests)?;
        run_once(&mut redis_many, start_redis, MANY, burst, &redis_protocol)?;
        let start_nats = |scratch: &Scratch| Nats::start(peers.nats, scratch);
        run_once(&mut nats, start_nats, FEW, short, &nats_protocol)?;
        let start_pocketbase = |scratch: &Scratch| pocketbase::start(peers.pocketbase, scratch);
        run_once(&mut pocketbase, start_pocketbase, FEW, short, &pocketbase_protocol)?;
    }
    let rate = |runs: &Runs| runs.of(|outcome| outcome.per_second);
    let p99 = |runs: &Runs| runs.of(|outcome| quantile(&outcome.latencies_us, 0.99));
    let name = "64 conn";
    let (bare, broker, redis_rate) = (rate(&bare), rate(&ours), rate(&redis));
    report.add(name, "bare handler, no disk", "/s", &bare).estimate(130_000.0);
    report.add(name, "broker", "/s", &broker).estimate(ESTIMATE_BROKER);
    report.add(name, "redis", "/s", &redis_rate).estimate(ESTIMATE_REDIS);
    report.add(name, "nats jetstream", "/s", &rate(&nats)).estimate(ESTIMATE_NATS);
    report.add(name, "pocketbase", "/s", &rate(&pocketbase)).estimate(ESTIMATE_POCKETBASE);
    let compared = [
        ("broker / bare handler", &bare, 130_000.0, 0.5),
        ("broker / redis", &redis_rate, ESTIMATE_REDIS, 1.0),
        ("broker / nats jetstream", &rate(&nats), ESTIMATE_NATS, 10.0),
        ("broker / pocketbase", &rate(&pocketbase), ESTIMATE_POCKETBASE, 10.0),
    ];
    for (what, theirs, estimate, goal) in compared {
        let ratio = report.add(name, what, "x", &ratios(&broker, theirs));
        ratio.estimate(ESTIMATE_BROKER / estimate).goal(Goal::AtLeast(goal));
    }
    let (ours_p99, redis_p99) = (p99(&ours), p99(&redis));
    report.add(name, "broker, p99", "us", &ours_p99).estimate(4_000.0);
    report.add(name, "redis, p99", "us", &redis_p99).estimate(3_000.0);
    let ratio = report.add(name, "broker / redis, p99", "x", &ratios(&ours_p99, &redis_p99));
    ratio.estimate(ESTIMATE_P99).goal(Goal::AtMost(1.5));
    report.add(name, "broker, CPU an insert", "us", &ours.server_cpu_us).estimate(25.0);
    report.add(name, "redis, CPU an insert", "us", &redis.server_cpu_us).estimate(8.0);

    let name = "256 conn";
    let (broker, redis) = (rate(&ours_many), rate(&redis_many));
    report.add(name, "broker", "/s", &broker).estimate(ESTIMATE_BROKER_MANY);
    report.add(name, "redis", "/s", &redis).estimate(ESTIMATE_REDIS_MANY);
    let ratio = report.add(name, "broker / redis", "x", &ratios(&broker, &redis));
    ratio.estimate(ESTIMATE_BROKER_MANY / ESTIMATE_REDIS_MANY).goal(Goal::AtLeast(1.0));
    Ok(())
}

/// Loads one server on an empty directory for a time.
fn run_once(
    runs: &mut Runs,
    start: impl Fn(&Scratch) -> Result<Server>,
    connections: usize,
    duration: Duration,
    protocol: &dyn Protocol,
) -> Result<()> {
    // What an earlier server left to be written must not disturb this one.
    rustix::fs::sync();
    let scratch = Scratch::new()?;
    runs.add(&start(&scratch)?, connections, duration, protocol)
}

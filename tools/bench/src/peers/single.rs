//! One connection: Broker, the least an insert can cost, and Redis, in turn.

use std::path::Path;

use broker_tools::Result;
use broker_tools::report::{Goal, Report};
use broker_tools::scratch::Scratch;
use broker_tools::server::Server;
use broker_tools::statistics::push_each;
use broker_tools::synced_file::SyncedFile;

use crate::connection::{REPETITIONS_ALL, ROUNDS, SingleConnection, median_us};
use crate::peers::redis::Redis;
use crate::protocol::HttpRequests;
use crate::servers;

/// The floor is 100 µs for append and sync, and 40 for the round trip. Broker adds two wakes of 8
/// µs and 10 µs of work, or no wakes where the thread that read the insert appends it: 150 to 166.
const ESTIMATE_BROKER_US: f64 = 160.0;
/// A growing file has its size synced too: 150 µs; 30 for the round trip, because one thread reads,
/// appends, syncs and answers.
const ESTIMATE_REDIS_US: f64 = 180.0;

/// Measures and reports.
pub fn run(redis: &Path, report: &mut Report) -> Result<()> {
    let (ours, theirs) = (Scratch::new()?, Scratch::new()?);
    let mut synced_file = SyncedFile::new(&ours.path().join("floor"), REPETITIONS_ALL)?;
    let requests = HttpRequests::inserts(1);
    let protocol = Redis::new(1);
    let (bare, broker) = (servers::bare()?, Server::broker(&ours, &[])?);
    let redis = Redis::start(redis, &theirs)?;
    let mut bare = SingleConnection::new(&bare, &requests)?;
    let mut broker = SingleConnection::new(&broker, &requests)?;
    let mut redis = SingleConnection::new(&redis, &protocol)?;
    let mut round = || -> Result<[f64; 4]> {
        let append = median_us(|| Ok(synced_file.append()?))?;
        let [bare, broker, redis] = [&mut bare, &mut broker, &mut redis]
            .map(|connection| median_us(|| connection.insert()));
        Ok([append, bare?, broker?, redis?])
    };
    // The first round is slow, and not counted.
    round()?;
    let mut runs: [Vec<f64>; 5] = Default::default();
    for _ in 0..ROUNDS {
        let [append, bare, broker, redis] = round()?;
        let floor = append + bare;
        let all = [floor, broker, redis, broker / floor, redis / broker];
        push_each(&mut runs, all);
    }
    let [floor, broker, redis, ratio, advantage] = &runs;
    let name = "1 conn";
    report.add(name, "floor: append, sync, bare handler", "us", floor).estimate(140.0);
    report.add(name, "broker", "us", broker).estimate(ESTIMATE_BROKER_US);
    report.add(name, "redis", "us", redis).estimate(ESTIMATE_REDIS_US);
    let ratio = report.add(name, "broker / floor", "x", ratio);
    ratio.estimate(ESTIMATE_BROKER_US / 140.0).goal(Goal::AtMost(1.2));
    let advantage = report.add(name, "broker / redis, inserts a second", "x", advantage);
    advantage.estimate(ESTIMATE_REDIS_US / ESTIMATE_BROKER_US).goal(Goal::AtLeast(1.0));
    Ok(())
}

//! A single insert, compared with the least it can cost: one append and sync, and one round trip.

use std::time::Instant;

use broker_tools::Result;
use broker_tools::http::Client;
use broker_tools::report::{Goal, Report, spread};
use broker_tools::scratch::Scratch;
use broker_tools::server::Server;
use broker_tools::synced_file::SyncedFile;
use broker_tools::workload::Workload;

use crate::servers;

/// All are measured in turn, because the machine drifts. Each round gives one median of each.
const ROUNDS: usize = 160;
/// In each round.
const INSERTS: usize = 25;
/// Appends in all rounds.
pub const APPENDS: usize = (ROUNDS + 1) * INSERTS;
const EVENTS: usize = 1_000;

/// The sync takes 100 µs (engineering facts: 55 to 103 for such frames), the bare round trip 40:
/// two wakes through loopback. Broker adds two wakes, to the appending thread and back, of 8 µs
/// each, and some 10 µs of checking, hashing and encoding: 26 µs.
const ESTIMATE_US: f64 = 166.0;
/// 166 / 140.
const ESTIMATE_RATIO: f64 = 1.19;

/// Measures and reports.
///
/// A bare handler that appends and syncs before it answers is measured too, because two floors that
/// are measured separately need not add up.
pub fn run(report: &mut Report) -> Result<()> {
    let scratch = Scratch::new()?;
    let mut synced_file = SyncedFile::new(&scratch.path().join("floor"), APPENDS)?;
    let mut bare = Inserts::into(servers::bare()?)?;
    let mut synced = Inserts::into(servers::bare_synced(&scratch.path().join("synced"))?)?;
    let mut broker = Inserts::into(Server::broker(&scratch, &[])?)?;
    let mut round = || -> Result<[f64; 4]> {
        let append = median_us(|| Ok(synced_file.append()?))?;
        Ok([append, bare.median_us()?, synced.median_us()?, broker.median_us()?])
    };
    // The first round is slow, and not counted.
    round()?;
    let mut runs: [Vec<f64>; 7] = Default::default();
    for _ in 0..ROUNDS {
        let [append, bare, synced, broker] = round()?;
        let floor = append + bare;
        let all = [append, bare, floor, synced, broker, broker / floor, broker / synced];
        runs.iter_mut().zip(all).for_each(|(runs, value)| runs.push(value));
    }
    let [append, bare, floor, synced, broker, ratio, synced_ratio] = &runs;
    let name = "insert";
    report.add(name, "raw append and fdatasync", "us", append).estimate(100.0);
    report.add(name, "bare handler's round trip", "us", bare).estimate(40.0);
    report.add(name, "floor: both", "us", floor).estimate(140.0);
    report.add(name, "bare handler that appends and syncs", "us", synced).estimate(140.0);
    report.add(name, "broker", "us", broker).estimate(ESTIMATE_US);
    let ratio = report.add(name, "broker / floor", "x", ratio);
    ratio.estimate(ESTIMATE_RATIO).goal(Goal::AtMost(1.25));
    let ratio = report.add(name, "broker / handler that syncs", "x", synced_ratio);
    ratio.estimate(ESTIMATE_RATIO);
    Ok(())
}

/// Inserts over one connection.
struct Inserts {
    client: Client,
    requests: Vec<Vec<u8>>,
    next: usize,
    /// Kept running.
    _server: Server,
}

impl Inserts {
    fn into(server: Server) -> Result<Self> {
        let mut workload = Workload::new(1);
        let requests = (0..EVENTS).map(|event| workload.insert(event)).collect();
        Ok(Self { client: Client::connect(server.address)?, requests, next: 0, _server: server })
    }

    fn median_us(&mut self) -> Result<f64> {
        median_us(|| {
            self.client.call(&self.requests[self.next % EVENTS], 201)?;
            self.next += 1;
            Ok(())
        })
    }
}

/// The median of a round's repetitions, in microseconds.
pub fn median_us(mut once: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::with_capacity(INSERTS);
    for _ in 0..INSERTS {
        let started = Instant::now();
        once()?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(spread(&times).median)
}

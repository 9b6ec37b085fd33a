//! A single insert, compared with the least it can cost: one append and sync, and one round trip.

use broker_tools::Result;
use broker_tools::report::{Goal, Report};
use broker_tools::scratch::Scratch;
use broker_tools::server::Server;
use broker_tools::statistics::push_each;
use broker_tools::synced_file::SyncedFile;

use crate::connection::{REPETITIONS_ALL, ROUNDS, SingleConnection, median_us};
use crate::protocol::HttpRequests;
use crate::servers;

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
    let mut synced_file = SyncedFile::new(&scratch.path().join("floor"), REPETITIONS_ALL)?;
    let requests = HttpRequests::inserts(1);
    let bare = servers::bare()?;
    let synced = servers::bare_synced(&scratch.path().join("synced"))?;
    let broker = Server::broker(&scratch, &[])?;
    let mut bare = SingleConnection::new(&bare, &requests)?;
    let mut synced = SingleConnection::new(&synced, &requests)?;
    let mut broker = SingleConnection::new(&broker, &requests)?;
    let mut round = || -> Result<[f64; 4]> {
        let append = median_us(|| Ok(synced_file.append()?))?;
        let [bare, synced, broker] = [&mut bare, &mut synced, &mut broker]
            .map(|connection| median_us(|| connection.insert()));
        Ok([append, bare?, synced?, broker?])
    };
    // The first round is slow, and not counted.
    round()?;
    let mut runs: [Vec<f64>; 7] = Default::default();
    for _ in 0..ROUNDS {
        let [append, bare, synced, broker] = round()?;
        let floor = append + bare;
        let all = [append, bare, floor, synced, broker, broker / floor, broker / synced];
        push_each(&mut runs, all);
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

//! Load without pause for longer than a burst: the projection and the inserts share the processors,
//! and in the end the projection limits how much is accepted.

use std::time::Duration;

use broker_tools::Result;
use broker_tools::report::{Goal, Report};
use broker_tools::scratch::Scratch;
use broker_tools::server::Server;
use broker_tools::statistics::push_each;

use crate::history::sled_alone::{BROKER_BLOCK, SINGLE_BLOCK};
use crate::load;
use crate::protocol::HttpRequests;
use crate::servers;

const CONNECTIONS: usize = 64;

/// A step's 1,000 records are of 630 of the 1,000 events, and fill 63 blocks: 0.7 keys a record, 10
/// CPU-µs, and 25 for the load and its answer: 2,000,000 / 35.
const ESTIMATE_SLED: f64 = 57_000.0;
/// 1.6 keys a record, and so 25 CPU-µs: 2,000,000 / 50.
const ESTIMATE_SLED_SINGLE: f64 = 40_000.0;
/// The same entries took 20 CPU-µs by then, with the load and its answer, not 35; 3 more for the
/// log and for waking waiting inserts, and a tenth of the time idle: 0.9 of 2,000,000 / 23.
const ESTIMATE_SLED_STORED: f64 = 78_000.0;
/// 3 CPU-µs more for the log, and 3 for reading it back, checksums and the chain.
const ESTIMATE_BROKER: f64 = 49_000.0;

/// Measures and reports this many runs of this duration.
pub fn run(rounds: usize, duration: Duration, report: &mut Report) -> Result<()> {
    let protocol = HttpRequests::inserts(6);
    let mut runs: [Vec<f64>; 10] = Default::default();
    for _ in 0..rounds {
        // Each server ends before the next one starts: applying what is left would go on.
        let alone = |block| {
            let scratch = Scratch::new()?;
            let server = servers::bare_indexed(&scratch.path().join("sled"), block)?;
            measure(&server, duration, &protocol)
        };
        let ((single, _, _), (sled, sled_answered, _)) =
            (alone(SINGLE_BLOCK)?, alone(BROKER_BLOCK)?);
        let (stored, _, _) = {
            let scratch = Scratch::new()?;
            measure(&servers::bare_stored(scratch.path(), BROKER_BLOCK)?, duration, &protocol)?
        };
        let (broker, acknowledged, refused) = {
            let scratch = Scratch::new()?;
            measure(&Server::broker(&scratch, &[])?, duration, &protocol)?
        };
        let ratios = [single, stored, sled].map(|alone| broker / alone);
        let rates = [single, stored, sled, sled_answered, broker, acknowledged, refused];
        let all = rates.into_iter().chain(ratios);
        push_each(&mut runs, all);
    }
    let [single, stored, sled, sled_answered, broker, acknowledged, refused, ratios @ ..] = &runs;
    let [to_single, to_stored, to_sled] = ratios;
    let name = "sustained";
    let alone = report.add(name, "sled, an entry a version, applied", "/s", single);
    alone.estimate(ESTIMATE_SLED_SINGLE);
    report.add(name, "sled, the same entries, applied", "/s", sled).estimate(ESTIMATE_SLED);
    report.add(name, "sled, the same entries, answered", "/s", sled_answered);
    let stored = report.add(name, "sled, the same, and a synced log, applied", "/s", stored);
    stored.estimate(ESTIMATE_SLED_STORED);
    report.add(name, "broker, applied", "/s", broker).estimate(ESTIMATE_BROKER);
    // The goal was based on an entry for each version under load. Broker also stores the records.
    let to_single = report.add(name, "broker / sled, an entry a version", "x", to_single);
    to_single.estimate(ESTIMATE_BROKER / ESTIMATE_SLED_SINGLE).goal(Goal::AtLeast(0.8));
    let to_stored = report.add(name, "broker / sled, the same, and a synced log", "x", to_stored);
    to_stored.estimate(ESTIMATE_BROKER / ESTIMATE_SLED_STORED).goal(Goal::AtLeast(0.8));
    let to_sled = report.add(name, "broker / sled, the same entries", "x", to_sled);
    to_sled.estimate(ESTIMATE_BROKER / ESTIMATE_SLED);
    report.add(name, "broker, acknowledged", "/s", acknowledged);
    report.add(name, "broker, refused and asked again", "/s", refused);
    Ok(())
}

/// The applied, acknowledged and refused requests a second.
fn measure(
    server: &Server,
    duration: Duration,
    protocol: &HttpRequests,
) -> Result<(f64, f64, f64)> {
    rustix::fs::sync();
    let outcome = load::run(server.address, CONNECTIONS, duration, protocol)?;
    let applied = server.health()?["projection"]["seq"].as_f64().ok_or("no seq")?;
    let seconds = outcome.latencies_us.len() as f64 / outcome.per_second;
    Ok((applied / seconds, outcome.per_second, outcome.refused as f64 / seconds))
}

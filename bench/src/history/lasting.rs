//! Load without pause: longer than a burst, so the projection and the inserts share the processors,
//! and in the end it is the projection that says how much is taken in.

use std::time::Duration;

use crate::Result;
use crate::load;
use crate::report::{Goal, Report};
use crate::server::{Scratch, Server};
use crate::wire::Http;
use crate::workload::Workload;

const CONNECTIONS: usize = 64;
const EVENTS: usize = 1_000;

/// Of a step's 1,000 records of 1,000 events most are of different ones: two keys a record, 30
/// CPU-µs, where one key in a large batch takes 14 to 20. Beside a load that has two cores too the
/// thread has a whole one only once that waits for it, which is soon: 1,000,000 / 30, less a tenth.
const ESTIMATE_SLED: f64 = 30_000.0;
/// Reading the log, a checksum for each key, hashing the chain: 5 CPU-µs more.
const ESTIMATE_BROKER: f64 = 25_000.0;

/// Measures and reports: so many runs of so long.
pub fn run(rounds: usize, duration: Duration, report: &mut Report) -> Result<()> {
    let mut workload = Workload::new(6);
    let wire = Http::new((0..EVENTS).map(|event| workload.insert(event)).collect(), 201);
    let mut runs: [Vec<f64>; 6] = Default::default();
    for _ in 0..rounds {
        // Each is gone before the other begins: what it has not applied yet would go on.
        let (sled, sled_answered, _) = {
            let scratch = Scratch::new()?;
            let server = Server::bare_indexed(&scratch.path().join("sled"))?;
            measure(&server, duration, &wire)?
        };
        let (broker, acknowledged, refused) = {
            let scratch = Scratch::new()?;
            measure(&Server::broker(&scratch, &[])?, duration, &wire)?
        };
        let all = [sled, broker, broker / sled, sled_answered, acknowledged, refused];
        runs.iter_mut().zip(all).for_each(|(runs, value)| runs.push(value));
    }
    let [sled, broker, ratio, sled_answered, acknowledged, refused] = &runs;
    let name = "lasting";
    report.add(name, "sled alone beside the load, applied", "/s", sled).estimate(ESTIMATE_SLED);
    report.add(name, "broker, applied", "/s", broker).estimate(ESTIMATE_BROKER);
    let ratio = report.add(name, "broker / sled alone, applied", "x", ratio);
    ratio.estimate(ESTIMATE_BROKER / ESTIMATE_SLED).goal(Goal::AtLeast(0.8));
    report.add(name, "sled alone beside the load, answered", "/s", sled_answered);
    report.add(name, "broker, acknowledged", "/s", acknowledged);
    report.add(name, "broker, refused and asked again", "/s", refused);
    Ok(())
}

/// What a server applied, acknowledged and refused, each a second.
fn measure(server: &Server, duration: Duration, wire: &Http) -> Result<(f64, f64, f64)> {
    rustix::fs::sync();
    let outcome = load::run(server.address, CONNECTIONS, duration, wire)?;
    let applied = server.health()?["projection"]["seq"].as_f64().ok_or("a seq is a number")?;
    let seconds = outcome.latencies_us.len() as f64 / outcome.per_second;
    Ok((applied / seconds, outcome.per_second, outcome.refused as f64 / seconds))
}

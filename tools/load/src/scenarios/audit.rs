//! The complete history of an event with many versions.

use std::time::Instant;

use broker_tools::Result;
use broker_tools::http::{TIMEOUT, get};
use broker_tools::report::{Goal, Report};

use crate::plan::EVENT;
use crate::protocol::{Handshake, ServerKind::Broker};
use crate::settings::Settings;
use crate::subscribers::{Clients, Subscribers};
use crate::target::Target;

const VERSIONS: usize = 100_000;
const READS: usize = 3;
/// The end of an answer is its last chunk.
const WHOLE: Handshake = Handshake { start: b"HTTP/1.1 200", ready: b"\r\n0\r\n\r\n" };

/// A version is found in sled by its location (0.5 us), read from the log in pages (0.3), checked
/// (CRC of 500 bytes, 0.1) and written as JSON with hash and salts (1 us): 2 us on one processor.
const ESTIMATE_PER_SECOND: f64 = 500_000.0;
/// MB: pages of the log, of the answer, and of sled, which keeps them.
const ESTIMATE_MB: f64 = 4.0;

/// Measures and reports.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let target = Target::start(Broker)?;
    target.fill(0..VERSIONS, |_| EVENT.to_owned())?;
    target.server.caught_up(TIMEOUT)?;
    let target = target.restart()?;
    let [_, before] = target.server.memory_peak()?;
    let (mut per_second, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..settings.runs * READS {
        target.server.reset_memory_peak()?;
        let mut subscribers = Subscribers::new()?;
        let clients =
            Clients { first_values: VERSIONS as u32, handshake: &WHOLE, ..target.clients(1) };
        let started = Instant::now();
        subscribers.connect(&clients, |_| {
            get(&format!("/audit/{EVENT}"), "Accept: application/json\r\n")
        })?;
        per_second.push(VERSIONS as f64 / started.elapsed().as_secs_f64());
        let [peak, _] = target.server.memory_peak()?;
        memory.push((peak - before) / 1e6);
    }
    let figure = report.add("audit", "broker, 100,000 versions", "/s", &per_second);
    figure.estimate(ESTIMATE_PER_SECOND).goal(Goal::AtLeast(300_000.0));
    // Compared with the memory before all reads, so that what a read leaves behind is counted.
    let figure = report.add("audit", "broker, peak memory of a read", "MB", &memory);
    figure.estimate(ESTIMATE_MB).goal(Goal::AtMost(8.0));
    Ok(())
}

//! First visits to a server with many latest values: one of them, a hundred at once, and some while
//! others receive live values.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use broker_tools::Result;
use broker_tools::http::TIMEOUT;
use broker_tools::report::{Goal, Report};
use broker_tools::statistics::ratios;

use crate::outcome::Outcome;
use crate::periodic::Periodic;
use crate::plan::{EVENT, Pace, Plan};
use crate::protocol::ServerKind::Broker;
use crate::settings::Settings;
use crate::subscribers::{Clients, Subscribers};
use crate::target::Target;

const VALUES: usize = 10_000;
const VALUES_MANY: usize = 100_000;
const CLIENTS: usize = 100;
/// Of 10,000 values, in a run.
const READS: usize = 5;

/// A value is a block of 450 bytes, which takes 0.4 us to encode and three copies on each side of
/// the socket; broker-bench measured 830 MB/s for 100,000.
const ESTIMATE_MB_PER_SECOND: f64 = 600.0;
/// MB: each of a hundred clients has at most a write buffer and some slices in flight.
const ESTIMATE_MB: f64 = 20.0;
/// Live subscribers, values a second for them, and visits a second at the same time.
const LISTENERS: usize = 1_000;
const PER_SECOND: f64 = 20.0;
const VISITS_PER_SECOND: f64 = 2.0;
const ALL: &str = "replay.%3E";

/// A visit takes 60 ms of one processor, and reading it as much of the other. Every eighth value
/// arrives during a visit, and each worker first finishes a slice of it, 1 ms; and the subscribers
/// have to share their processor.
const ESTIMATE_LIVE_RATIO: f64 = 2.0;
/// MB: a hundred times what a stalled reader may take, 512 KiB.
const GOAL_MB: f64 = CLIENTS as f64 * 0.512 * 1.024;

/// Measures and reports.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let target = Target::start(Broker)?;
    let bench = "replay";
    target.fill(0..VALUES, |index| format!("replay.{index:06}"))?;
    let mut one = Vec::new();
    for _ in 0..settings.runs * READS {
        one.push(read(&target, 1, VALUES)?);
    }
    let figure = report.add(bench, "broker, 10,000 values to one", "MB/s", &one);
    figure.estimate(ESTIMATE_MB_PER_SECOND).goal(Goal::AtLeast(150.0));
    target.fill(VALUES..VALUES_MANY, |index| format!("replay.{index:06}"))?;
    let target = target.restart()?;
    let [_, before] = target.server.memory_peak()?;
    let (mut many, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..settings.runs {
        target.server.reset_memory_peak()?;
        many.push(read(&target, CLIENTS, VALUES_MANY)?);
        let [peak, _] = target.server.memory_peak()?;
        memory.push((peak - before) / 1e6);
    }
    let figure = report.add(bench, "broker, 100,000 values to 100", "MB/s", &many);
    figure.estimate(ESTIMATE_MB_PER_SECOND);
    let figure = report.add(bench, "broker, peak memory for 100", "MB", &memory);
    figure.estimate(ESTIMATE_MB).goal(Goal::AtMost(GOAL_MB));
    let (mut undisturbed, mut during_replays) = (Vec::new(), Vec::new());
    for _ in 0..settings.runs {
        undisturbed.push(live(&target, settings)?.p99_ms());
        let address = target.address();
        let visits = Periodic::start(VISITS_PER_SECOND, move || visit(address));
        during_replays.push(live(&target, settings)?.p99_ms());
        visits.end()?;
    }
    report.add(bench, "broker, others' p99, no replay", "ms", &undisturbed);
    report.add(bench, "broker, others' p99, during replays", "ms", &during_replays);
    let figure = report.add(
        bench,
        "broker, others' p99, during / without",
        "x",
        &ratios(&during_replays, &undisturbed),
    );
    figure.estimate(ESTIMATE_LIVE_RATIO);
    Ok(())
}

/// Publishes values to live subscribers.
fn live(target: &Target, settings: &Settings) -> Result<Outcome> {
    let mut subscribers = Subscribers::new()?;
    subscribers.connect(&target.clients(LISTENERS), |_| Broker.subscribe(EVENT))?;
    let pace = Pace::PerSecond(PER_SECOND);
    Plan::new(pace, settings.duration * 2, LISTENERS).run(&mut subscribers, target)
}

/// Reads all latest values, in the calling thread.
fn visit(address: SocketAddr) -> io::Result<()> {
    const SYNCED: &[u8] = b"event:broker:synced";
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&Broker.subscribe(ALL))?;
    let mut buffer = vec![0; 256 << 10];
    let mut kept = 0;
    loop {
        let len = match stream.read(&mut buffer[kept..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => kept + read,
        };
        if memchr::memmem::find(&buffer[..len], SYNCED).is_some() {
            return Ok(());
        }
        // The end may contain a part of it.
        kept = len.min(SYNCED.len() - 1);
        buffer.copy_within(len - kept..len, 0);
    }
}

/// MB a second until every client has every value.
fn read(target: &Target, count: usize, values: usize) -> Result<f64> {
    let mut subscribers = Subscribers::new()?;
    let clients = Clients { first_values: values as u32, ..target.clients(count) };
    let started = Instant::now();
    subscribers.connect(&clients, |_| Broker.subscribe(ALL))?;
    Ok(subscribers.received.bytes as f64 / 1e6 / started.elapsed().as_secs_f64())
}

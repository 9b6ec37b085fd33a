//! A subscriber that does not read, among 1,000 that do.
//!
//! Apart from the values of the others, 1.6 MB a second of large ones are published as another
//! event. One subscriber selects that event: in one run it reads, in the other it never does.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{io, thread};

use broker_tools::Result;
use broker_tools::http::Client;
use broker_tools::report::{Goal, Report};
use broker_tools::statistics::ratios;
use broker_tools::workload::Workload;

use crate::outcome::Outcome;
use crate::periodic::Periodic;
use crate::plan::{Pace, Plan};
use crate::protocol::ServerKind::Broker;
use crate::settings::Settings;
use crate::socket;
use crate::target::Target;

const SUBSCRIBERS: usize = 1_000;
const PER_SECOND: f64 = 20.0;
const LARGE_PER_SECOND: f64 = 50.0;
const LARGE_BYTES: usize = 32 << 10;
/// The first event of the workload.
const LARGE_EVENT: &str = "bench.000000";
/// Its source address follows those of the other subscribers.
const READER: usize = 14_000;
const SAMPLES_PER_SECOND: f64 = 4.0;

/// A send buffer of 64 KiB, which the kernel doubles for its own needs and one write may exceed:
/// 288 KiB in the engineering facts.
const ESTIMATE_KERNEL_KIB: f64 = 288.0;
/// A stalled reader takes no CPU time, so the others should not notice it.
const ESTIMATE_RATIO: f64 = 1.0;

/// Measures and reports.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let (mut reading_ms, mut stalled_ms) = (Vec::new(), Vec::new());
    let (mut kernel, mut process) = (Vec::new(), Vec::new());
    let mut missing = Vec::new();
    for _ in 0..settings.runs {
        let reading = measure(Reader::Reads, settings)?;
        let stalled = measure(Reader::Stalls, settings)?;
        reading_ms.push(reading.outcome.p99_ms());
        stalled_ms.push(stalled.outcome.p99_ms());
        kernel.push(stalled.kernel_bytes / 1024.0);
        process.push((stalled.server_bytes - reading.server_bytes) / 1024.0);
        missing.push(stalled.outcome.missing_percent());
    }
    let bench = "stalled";
    report.add(bench, "broker, others' p99, one reads", "ms", &reading_ms);
    report.add(bench, "broker, others' p99, one stalls", "ms", &stalled_ms);
    let ratio = report.add(
        bench,
        "broker, others' p99, stalls / reads",
        "x",
        &ratios(&stalled_ms, &reading_ms),
    );
    ratio.estimate(ESTIMATE_RATIO).goal(Goal::AtMost(1.2));
    let missing = report.add(bench, "broker, others' deliveries missing", "%", &missing);
    missing.goal(Goal::AtMost(0.0));
    let kernel = report.add(bench, "broker, kernel memory of its socket", "KiB", &kernel);
    kernel.estimate(ESTIMATE_KERNEL_KIB).goal(Goal::AtMost(512.0));
    report.add(bench, "broker, PSS, stalls - reads", "KiB", &process).estimate(64.0);
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    Reads,
    Stalls,
}

struct StalledRun {
    outcome: Outcome,
    /// Peak of the kernel's memory for the reader's socket on the server's side.
    kernel_bytes: f64,
    server_bytes: f64,
}

fn measure(reader: Reader, settings: &Settings) -> Result<StalledRun> {
    let count = settings.subscriber_count.unwrap_or(SUBSCRIBERS);
    let (target, mut subscribers) = Target::subscribed(Broker, count)?;
    let stream = socket::connect(target.address(), READER)?;
    stream.set_nonblocking(false)?;
    io::Write::write_all(&mut &stream, &Broker.subscribe(LARGE_EVENT))?;
    let most = Arc::new(AtomicU64::new(0));
    let (seen, from, to) = (most.clone(), target.address(), stream.local_addr()?);
    let samples = Periodic::start(SAMPLES_PER_SECOND, move || {
        seen.fetch_max(kernel_bytes(from, to)?, Ordering::Relaxed);
        Ok(())
    });
    if reader == Reader::Reads {
        let mut stream = stream.try_clone()?;
        // The thread ends when the server does.
        let mut buffer = vec![0; 64 << 10];
        thread::spawn(move || while matches!(stream.read(&mut buffer), Ok(1..)) {});
    }
    let large = Workload::sized(7, LARGE_BYTES).insert(0);
    let mut client = Client::connect(target.address())?;
    let inserts = Periodic::start(LARGE_PER_SECOND, move || client.call(&large, 201).map(|_| ()));
    let pace = Pace::PerSecond(PER_SECOND);
    let plan = Plan::new(pace, settings.duration * 2, count);
    let outcome = plan.run(&mut subscribers, &target)?;
    let server_bytes = target.server.memory()?;
    inserts.end()?;
    samples.end()?;
    ensure_open(&stream)?;
    Ok(StalledRun { outcome, kernel_bytes: most.load(Ordering::Relaxed) as f64, server_bytes })
}

/// Checks that the server has not closed the stream, which would make it free.
fn ensure_open(stream: &TcpStream) -> Result<()> {
    stream.set_nonblocking(true)?;
    match stream.peek(&mut [0]) {
        Ok(0) => Err("the server closed the reader's stream".into()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error.into()),
        _ => Ok(()),
    }
}

/// Memory of the socket from `from` to `to` according to `ss -m`: what is queued in either
/// direction, and what is set apart for it.
fn kernel_bytes(from: SocketAddr, to: SocketAddr) -> io::Result<u64> {
    let filter = format!("src {from} and dst {to}");
    let output = Command::new("ss").args(["-tmnH", &filter]).output()?;
    let output = String::from_utf8_lossy(&output.stdout);
    let memory = output.split_once("skmem:(").and_then(|(_, rest)| rest.split_once(')'));
    let (memory, _) = memory.ok_or_else(|| io::Error::other(format!("ss printed: {output}")))?;
    // r and w are queued, f is set apart; rb and tb are limits.
    let parts = memory.split(',').filter_map(|part| part.split_at_checked(1));
    let parts = parts.filter(|(name, _)| ["r", "w", "f"].contains(name));
    Ok(parts.filter_map(|(_, bytes)| bytes.parse::<u64>().ok()).sum())
}

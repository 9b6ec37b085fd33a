//! What a long history costs: sustained load, inserts and reads, a start after a crash, a rebuild
//! of the projection, and disk space.

mod reads;
mod size;
pub mod sled_alone;
mod sustained;

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use broker_tools::Result;
use broker_tools::http::{Client, get};
use broker_tools::report::{Goal, Report};
use broker_tools::scratch::Scratch;
use broker_tools::server::Server;
use broker_tools::statistics::push_each;

use crate::disk_space::bytes_a_record;
use crate::history::size::{DATA_BYTES, LITTLE, Size};
use crate::history::sled_alone::{BROKER_BLOCK, SINGLE_BLOCK};
use crate::servers::sled_fill;

const WRITERS: usize = 4;
const EVENTS_MAX: usize = 10_000;
const CRASHES: usize = 3;
/// Just before a crash, so that the projection lags.
const CRASH_BATCHES: usize = 100;
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// Longer than ten million records take.
const CATCH_UP_MAX: Duration = Duration::from_secs(3600);

/// Four writers give the log a batch of 1,000 every 4 ms, but the projection, which then applies
/// 60,000 a second, never lags by more than two million records.
const ESTIMATE_FILL: f64 = 75_000.0;
/// The snapshot's 10,000 records 0.1 s, at most 32 MiB of log after it 0.1 s, and opening sled's
/// 0.4 GB from its own last snapshot 0.3 s.
const ESTIMATE_START_S: f64 = 0.5;
/// 1.06 keys a record, because each step has 1,000 of 10,000 events, at 14 CPU-µs a key.
const ESTIMATE_SLED: f64 = 67_000.0;
/// Two keys a record: 30 CPU-µs on a processor of its own.
const ESTIMATE_SLED_SINGLE: f64 = 33_000.0;
/// 3 CPU-µs more for reading, checksums and the chain, and 2 less, because recently changed entries
/// are known.
const ESTIMATE_REBUILD: f64 = 60_000.0;
/// 159, the name's 12, and the data; a thousand records share the head of a group.
const ESTIMATE_JOURNAL: f64 = 471.0;
/// A location 15, a sixteenth of a key and of sled's page 5, and as much again that sled has not
/// reclaimed.
const ESTIMATE_PROJECTION: f64 = 40.0;

/// How much to measure.
pub struct Settings {
    /// Records of the long history.
    pub records: usize,
    /// Rounds of the sustained load and of the rebuild, which take minutes each.
    pub rounds: usize,
    /// Duration of the sustained load.
    pub sustained: Duration,
}

/// Measures and reports.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    sustained::run(settings.rounds, settings.sustained, report)?;
    let records = settings.records.max(LITTLE.records);
    let much = Size { records, events: EVENTS_MAX.min(records / 100) };
    let (little_scratch, scratch) = (Scratch::new()?, Scratch::new()?);
    let little_server = Server::broker(&little_scratch, &[])?;
    let server = Server::broker(&scratch, &[])?;
    fill(&little_server, LITTLE.records / LITTLE.events, LITTLE)?;
    let started = Instant::now();
    fill(&server, much.records / much.batch(), much)?;
    let rate = much.records as f64 / started.elapsed().as_secs_f64();
    let name = "history";
    report.add(name, "records of 300 B in batches", "/s", &[rate]).estimate(ESTIMATE_FILL);
    little_server.settle()?;
    server.caught_up(CATCH_UP_MAX)?;
    rustix::fs::sync();
    reads::run((&little_server, LITTLE), (&server, much), report)?;
    drop(little_server);
    let server = crashes(server, &scratch, much, report)?;
    disk(&server, &scratch, report)?;
    drop(server);
    rebuild(settings.rounds, &scratch, much, report)
}

/// Kills the server while it is filled, and starts it again.
fn crashes(
    mut server: Server,
    scratch: &Scratch,
    size: Size,
    report: &mut Report,
) -> Result<Server> {
    let mut runs: [Vec<f64>; 3] = Default::default();
    for _ in 0..CRASHES {
        fill(&server, CRASH_BATCHES, size)?;
        // Kills the server.
        drop(server);
        let started = Instant::now();
        server = Server::broker(scratch, &[])?;
        Client::connect(server.address)?.call(&get("/readyz", ""), 200)?;
        let ready = started.elapsed().as_secs_f64();
        let lag = server.health()?["projection"]["lag"].as_f64().ok_or("no lag")?;
        server.caught_up(CATCH_UP_MAX)?;
        let all = [ready, lag, started.elapsed().as_secs_f64()];
        push_each(&mut runs, all);
    }
    let [ready, lag, caught_up] = &runs;
    let ready = report.add("crash", "kill -9 to ready", "s", ready);
    ready.estimate(ESTIMATE_START_S).goal(Goal::AtMost(3.0));
    report.add("crash", "records behind when ready", "", lag);
    report.add("crash", "kill -9 to caught up", "s", caught_up);
    Ok(server)
}

fn disk(server: &Server, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let records = server.health()?["seq"].as_f64().ok_or("no seq")?;
    let [journal, projection] = bytes_a_record(&scratch.path().join("data"), records)?;
    report.add("disk", "a record of 300 B, journal", "B", &[journal]).estimate(ESTIMATE_JOURNAL);
    let what = "a record of 300 B, projection";
    report.add("disk", what, "B", &[projection]).estimate(ESTIMATE_PROJECTION);
    let ratio = (journal + projection) / DATA_BYTES as f64;
    let estimate = (ESTIMATE_JOURNAL + ESTIMATE_PROJECTION) / DATA_BYTES as f64;
    let ratio = report.add("disk", "both / 300 B of the user", "x", &[ratio]);
    ratio.estimate(estimate).goal(Goal::AtMost(4.0));
    Ok(())
}

/// Removes the projection, and measures how fast a start rebuilds it.
fn rebuild(rounds: usize, scratch: &Scratch, size: Size, report: &mut Report) -> Result<()> {
    let mut runs: [Vec<f64>; 5] = Default::default();
    for _ in 0..rounds {
        fs::remove_dir_all(scratch.path().join("data/projection"))?;
        let alone = |block| -> Result<f64> {
            let seconds = sled_fill(&Scratch::new()?, block, size.records, size.events)?;
            Ok(size.records as f64 / seconds)
        };
        let (single, sled) = (alone(SINGLE_BLOCK)?, alone(BROKER_BLOCK)?);
        rustix::fs::sync();
        let started = Instant::now();
        let server = Server::broker(scratch, &[])?;
        server.caught_up(CATCH_UP_MAX)?;
        let seconds = started.elapsed().as_secs_f64();
        let records = server.health()?["seq"].as_f64().ok_or("no seq")?;
        let rebuilt = records / seconds;
        let all = [single, sled, rebuilt, rebuilt / single, rebuilt / sled];
        push_each(&mut runs, all);
    }
    let [single, sled, rebuilt, to_single, ratio] = &runs;
    let name = "rebuild";
    report.add(name, "sled, an entry a version", "/s", single).estimate(ESTIMATE_SLED_SINGLE);
    report.add(name, "sled, the same entries", "/s", sled).estimate(ESTIMATE_SLED);
    report.add(name, "broker", "/s", rebuilt).estimate(ESTIMATE_REBUILD);
    let to_single = report.add(name, "broker / sled, an entry a version", "x", to_single);
    to_single.estimate(ESTIMATE_REBUILD / ESTIMATE_SLED_SINGLE);
    let ratio = report.add(name, "broker / sled, the same entries", "x", ratio);
    ratio.estimate(ESTIMATE_REBUILD / ESTIMATE_SLED).goal(Goal::AtLeast(0.8));
    Ok(())
}

/// Inserts this many batches over some connections; refused ones are tried again.
fn fill(server: &Server, batches: usize, size: Size) -> Result<()> {
    let mut workload = size::workload(8);
    // The same requests repeat: what is stored of a value does not depend on other values.
    let firsts = (0..size.events).step_by(size.batch());
    let requests: Vec<_> =
        firsts.map(|first| workload.batch(first..first + size.batch())).collect();
    let next = AtomicUsize::new(0);
    let write = || -> std::io::Result<()> {
        let mut client = Client::connect(server.address)?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= batches {
                return Ok(());
            }
            let refused_since = Instant::now();
            while !client.call_unless_unavailable(&requests[number % requests.len()], 201)? {
                if refused_since.elapsed() > CATCH_UP_MAX {
                    return Err(std::io::ErrorKind::TimedOut.into());
                }
                thread::sleep(BUSY_PAUSE);
            }
        }
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
        let ends = writers.into_iter().map(|writer| writer.join().expect("writers do not panic"));
        ends.collect::<std::io::Result<Vec<()>>>()
    })?;
    Ok(())
}

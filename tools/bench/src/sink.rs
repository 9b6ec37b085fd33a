//! Memory of a producer that never pauses and sends to a sink on a slow disk.
//!
//! The producer is this program again in a process of its own, with Broker as a library.
//! `shim/slow.c` slows down every sync of its journal. For comparison the same events are inserted
//! in batches that are awaited one after the other, so that nothing queues: there, memory grows
//! only by what the log and the projection take.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use broker::{Broker, Config, NewEvent};
use broker_tools::Result;
use broker_tools::compile::{LIBRARY, compile};
use broker_tools::process::proportional_memory;
use broker_tools::report::{Goal, Report};
use broker_tools::scratch::Scratch;
use broker_tools::workload::{DATA_BYTES, name};
use futures_util::SinkExt as _;

/// Events of the producer between two samples of its memory.
const STEP: usize = 10_000;
/// Few, so that latest values take no memory.
const EVENTS: usize = 100;
/// Longer than any sync of a healthy disk. A group is a MiB of the queue, 1,470 events, so the disk
/// takes 29,000 a second: less than what the producer sends, and what the projection applies.
const SYNC_US: &str = "50000";

/// The sinks' half of the queue, 32 MiB, holds 47,000 events of 712 bytes, which take about 800
/// bytes each: the sent event 240, its value 200, the way back to the sink 150, rounding of the
/// allocations 200. The history of 100,000 takes 8 MB. Before the first run the estimate was 85,
/// for a whole queue.
const ESTIMATE_FULL_MB: f64 = 46.0;
/// A recent id 16, sled's page table 60.
const ESTIMATE_GROWTH: f64 = 80.0;

/// Measures and reports.
pub fn run(records: usize, report: &mut Report) -> Result<()> {
    let sink = produce("sink-fill", records)?;
    let awaited = produce("sink-await", records)?;
    let full = (sink.full - sink.empty) / 1e6;
    report.add("sink", "before the first event", "MB", &[sink.empty / 1e6]);
    report.add("sink", "more, when the queue is full", "MB", &[full]).estimate(ESTIMATE_FULL_MB);
    report.add("sink", "sent and not yet known durable, at most", "", &[sink.ahead_max as f64]);
    let growth = report.add("sink", "an event more, through the sink", "B", &[sink.growth]);
    growth.estimate(ESTIMATE_GROWTH);
    let growth = report.add("sink", "an event more, awaited batches", "B", &[awaited.growth]);
    growth.estimate(ESTIMATE_GROWTH);
    let own = report.add(
        "sink",
        "an event more, of the sink itself",
        "B",
        &[sink.growth - awaited.growth],
    );
    // A hundredth of an event: noise of the allocator, and no growth.
    own.estimate(0.0).goal(Goal::AtMost(8.0));
    report.add("sink", "events a second", "", &[records as f64 / sink.seconds]);
    Ok(())
}

/// Memory of a producer, in bytes.
struct MemoryUse {
    empty: f64,
    /// After a tenth of the events, which is more than the queue holds.
    full: f64,
    /// Growth by each event after that, fitted to all samples.
    growth: f64,
    ahead_max: u64,
    seconds: f64,
}

fn produce(what: &str, records: usize) -> Result<MemoryUse> {
    let scratch = Scratch::new()?;
    let shim = scratch.path().join("slow.so");
    compile(include_str!("../shim/slow.c"), LIBRARY, &shim)?;
    let mut child = Command::new(std::env::current_exe()?)
        .args([what, "--records", &records.to_string(), "--index"])
        .arg(scratch.path().join("data"))
        .env_clear()
        .env("LD_PRELOAD", &shim)
        .env("SLOW_SYNC_US", SYNC_US)
        .stdout(Stdio::piped())
        .spawn()?;
    let pid = child.id();
    let lines = BufReader::new(child.stdout.take().ok_or("standard output is piped")?).lines();
    let (mut samples, mut ahead_max, began) = (Vec::new(), 0, Instant::now());
    for line in lines {
        let line = line?;
        let (sent, durable) = line.split_once(' ').ok_or("two numbers")?;
        let (sent, durable): (u64, u64) = (sent.parse()?, durable.parse()?);
        ahead_max = ahead_max.max(sent - durable);
        samples.push((sent as f64, proportional_memory(pid)?));
    }
    let seconds = began.elapsed().as_secs_f64();
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("{what} failed: {status}").into());
    }
    let tenth = records as f64 / 10.0;
    let (_, empty) = *samples.first().ok_or("the producer printed nothing")?;
    let after: Vec<_> = samples.into_iter().filter(|(sent, _)| *sent >= tenth).collect();
    let (_, full) = *after.first().ok_or("it sent few")?;
    Ok(MemoryUse { empty, full, growth: slope(&after), ahead_max, seconds })
}

/// The slope of the line that fits points best, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
    let along: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    along / points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>()
}

/// The producer. After every step it prints how many events it has sent, and how many are durable.
pub fn fill(directory: &Path, records: usize, is_awaited: bool) -> Result<()> {
    actix_rt::System::new().block_on(async {
        let config = Config::default().data_dir(directory).cache_bytes(1 << 20);
        let broker = Broker::open(config).await?;
        let mut out = std::io::stdout();
        writeln!(out, "0 0")?;
        let mut sink = broker.sink();
        let mut batch = Vec::new();
        for n in 0..records {
            let event = NewEvent::new(&name(n % EVENTS), &"x".repeat(DATA_BYTES - 2))?;
            if is_awaited {
                batch.push(event);
                if batch.len() == STEP / 10 {
                    broker.insert_batch(std::mem::take(&mut batch)).await?;
                }
            } else {
                sink.feed(event).await?;
            }
            let sent = n + 1;
            if sent % STEP == 0 {
                let durable = if is_awaited { sent as u64 } else { sink.durable() };
                writeln!(out, "{sent} {durable}")?;
            }
        }
        sink.close().await?;
        broker.shutdown().await;
        Ok(())
    })
}

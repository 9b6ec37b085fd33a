//! Memory and disk space of a latest value, a version of history and an idle subscriber.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};

use broker_tools::Result;
use broker_tools::http::{TIMEOUT, get, read_until};
use broker_tools::process::raise_descriptor_limit;
use broker_tools::report::Report;
use broker_tools::scratch::Scratch;
use broker_tools::server::Server;
use broker_tools::workload::{DATA_BYTES, Workload, insert_all};

use crate::disk_space::bytes_a_record;

const LATEST: usize = 100_000;
const EVENTS: usize = 1_000;
const HISTORY: [usize; 2] = [100_000, 500_000];
const SUBSCRIBERS: usize = 1_000;

/// The record's JSON 350, the record 200, rounding of its allocations 50, an index by name and one
/// by seq 120 and 30, and what deciding keeps of it 100.
const ESTIMATE_LATEST: f64 = 850.0;
/// A sixteenth of sled's page table and of a block in its cache, until that is full. Broker itself
/// adds nothing, because recent ids and the window are bounded.
const ESTIMATE_HISTORY: f64 = 38.0;
/// 372 of leaf, salts, checksums, lengths, meta and data; many records share the group's head.
const ESTIMATE_JOURNAL: f64 = 380.0;
/// A location 15, a sixteenth of a key and of sled's page 5, and as much again for rewritten
/// entries that sled has not reclaimed.
const ESTIMATE_PROJECTION: f64 = 40.0;
/// actix's read and write buffers 10.4 KB; the stream's position, selector and timer less than 1.
const ESTIMATE_SUBSCRIBER: f64 = 11_000.0;

/// Measures and reports.
pub fn run(report: &mut Report) -> Result<()> {
    latest(report)?;
    history(report)?;
    subscribers(report)
}

/// Measured with the smallest cache, so that history is little of the difference, and also after a
/// restart, when nothing is left of the inserts.
fn latest(report: &mut Report) -> Result<()> {
    const FLAGS: [&str; 2] = ["--cache-bytes", "1MiB"];
    let scratch = Scratch::new()?;
    let server = Server::broker(&scratch, &FLAGS)?;
    server.settle()?;
    let empty = server.memory()?;
    let mut workload = Workload::new(4);
    insert_all(server.address, (0..LATEST).map(|event| workload.body(event)))?;
    server.settle()?;
    let inserted = server.memory()?;
    drop(server);
    let server = Server::broker(&scratch, &FLAGS)?;
    server.settle()?;
    let restarted = server.memory()?;
    let each = |bytes: f64| [(bytes - empty) / LATEST as f64];
    report.add("memory", "empty", "MB", &[empty / 1e6]).estimate(10.0);
    report.add("memory", "a latest value, just inserted", "B", &each(inserted));
    let settled = report.add("memory", "a latest value, after a restart", "B", &each(restarted));
    settled.estimate(ESTIMATE_LATEST);
    Ok(())
}

fn history(report: &mut Report) -> Result<()> {
    let scratch = Scratch::new()?;
    let server = Server::broker(&scratch, &[])?;
    let mut workload = Workload::new(5);
    let mut insert = |versions: usize| -> Result<f64> {
        for _ in 0..versions / EVENTS {
            insert_all(server.address, (0..EVENTS).map(|event| workload.body(event)))?;
        }
        server.settle()?;
        server.memory()
    };
    insert(EVENTS)?;
    let few = insert(HISTORY[0])?;
    let many = insert(HISTORY[1] - HISTORY[0])?;
    let records = (HISTORY[1] + EVENTS) as f64;
    let growth = (many - few) / (HISTORY[1] - HISTORY[0]) as f64;
    report.add("memory", "1,000 events, 100,000 versions", "MB", &[few / 1e6]);
    report.add("memory", "1,000 events, 500,000 versions", "MB", &[many / 1e6]);
    report.add("memory", "a further version", "B", &[growth]).estimate(ESTIMATE_HISTORY);
    let [journal, projection] = bytes_a_record(&scratch.path().join("data"), records)?;
    report.add("disk", "a record, journal", "B", &[journal]).estimate(ESTIMATE_JOURNAL);
    report.add("disk", "a record, projection", "B", &[projection]).estimate(ESTIMATE_PROJECTION);
    let ratio = (journal + projection) / DATA_BYTES as f64;
    let estimate = (ESTIMATE_JOURNAL + ESTIMATE_PROJECTION) / DATA_BYTES as f64;
    report.add("disk", "both / user's bytes", "x", &[ratio]).estimate(estimate);
    Ok(())
}

fn subscribers(report: &mut Report) -> Result<()> {
    raise_descriptor_limit()?;
    let scratch = Scratch::new()?;
    let server = Server::broker(&scratch, &[])?;
    server.settle()?;
    // The first hundred allocate what all share.
    let mut streams = Vec::with_capacity(SUBSCRIBERS + 100);
    for _ in 0..100 {
        streams.push(subscribe(server.address)?);
    }
    let before = server.memory()?;
    for _ in 0..SUBSCRIBERS {
        streams.push(subscribe(server.address)?);
    }
    server.settle()?;
    let each = (server.memory()? - before) / SUBSCRIBERS as f64;
    report.add("memory", "an idle subscriber", "B", &[each]).estimate(ESTIMATE_SUBSCRIBER);
    Ok(())
}

/// A stream that has received `synced`.
fn subscribe(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&get("/events", ""))?;
    read_until(&mut stream, |bytes| bytes.ends_with(b"\n\n\r\n"))?;
    Ok(stream)
}

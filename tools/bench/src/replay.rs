//! A first visit: every latest value to one client, compared with a loop that writes the same
//! bytes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use broker_tools::Result;
use broker_tools::http::{ACCEPT_EVENTS, TIMEOUT, get, read_until};
use broker_tools::report::Report;
use broker_tools::scratch::Scratch;
use broker_tools::server::Server;
use broker_tools::workload::{Workload, insert_all};

/// Part of the last block of a replay, and of no value.
const SYNCED: &[u8] = b"event:broker:synced";
/// The last block, including its framing, is shorter.
const LAST_BLOCK_BYTES_MAX: usize = 320;
const WRITE_BYTES: usize = 64 << 10;

/// The number of values and runs, and the estimates.
struct ReplaySize {
    values: usize,
    runs: usize,
    names: [&'static str; 4],
    estimate_ms: f64,
    estimate_mb_per_second: f64,
}

/// A value is a block of 450 bytes: 200 of data, 150 of the record around it, 70 of cursor, 30 of
/// framing. Encoding one takes 0.4 µs; memory is copied three times on each side of the socket, at
/// 2 GB/s on loopback.
///
/// 1,000 values: 0.45 MB take 0.4 ms to encode, 0.3 ms to copy, and 0.2 ms to connect. 100,000
/// values: 45 MB take 40 ms to encode and 25 ms to copy, which do not overlap, because actix writes
/// what it has before it asks for more.
const SIZES: [ReplaySize; 2] = [
    ReplaySize {
        values: 1_000,
        runs: 40,
        names: [
            "1,000 values, loopback",
            "1,000 values, broker",
            "1,000 values, broker, to synced",
            "1,000 values, loopback / broker",
        ],
        estimate_ms: 0.9,
        estimate_mb_per_second: 500.0,
    },
    ReplaySize {
        values: 100_000,
        runs: 10,
        names: [
            "100,000 values, loopback",
            "100,000 values, broker",
            "100,000 values, broker, to synced",
            "100,000 values, loopback / broker",
        ],
        estimate_ms: 65.0,
        estimate_mb_per_second: 690.0,
    },
];

/// Measures and reports.
pub fn run(report: &mut Report) -> Result<()> {
    let scratch = Scratch::new()?;
    let broker = Server::broker(&scratch, &[])?;
    let mut filled = 0;
    for size in &SIZES {
        let mut workload = Workload::new(3);
        insert_all(broker.address, (filled..size.values).map(|event| workload.body(event)))?;
        filled = size.values;
        broker.settle()?;
        let mut bytes = Vec::new();
        read(broker.address, &mut bytes)?;
        let floor = serve(bytes)?;
        let (mut loopback, mut subject, mut to_synced, mut ratio) =
            (vec![], vec![], vec![], vec![]);
        let mut replay = Vec::new();
        for _ in 0..size.runs {
            let floor_seconds = read(floor, &mut replay)?;
            let seconds = read(broker.address, &mut replay)?;
            let megabytes = replay.len() as f64 / 1e6;
            loopback.push(megabytes / floor_seconds);
            subject.push(megabytes / seconds);
            to_synced.push(seconds * 1e3);
            ratio.push(seconds / floor_seconds);
        }
        report.add("replay", size.names[0], "MB/s", &loopback).estimate(2_000.0);
        let subject = report.add("replay", size.names[1], "MB/s", &subject);
        subject.estimate(size.estimate_mb_per_second);
        report.add("replay", size.names[2], "ms", &to_synced).estimate(size.estimate_ms);
        report.add("replay", size.names[3], "x", &ratio);
    }
    Ok(())
}

/// Reads a replay into `into`, and returns the seconds since connecting.
fn read(address: SocketAddr, into: &mut Vec<u8>) -> Result<f64> {
    into.clear();
    let mut buffer = vec![0; 256 << 10];
    let started = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&get("/events", ACCEPT_EVENTS))?;
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err("the replay ended early".into());
        }
        into.extend_from_slice(&buffer[..read]);
        let tail = &into[into.len().saturating_sub(LAST_BLOCK_BYTES_MAX)..];
        let is_last = tail.windows(SYNCED.len()).any(|window| window == SYNCED);
        if is_last && into.ends_with(b"\n\n\r\n") {
            return Ok(started.elapsed().as_secs_f64());
        }
    }
}

/// The floor: writes the bytes to every client, until the program ends.
fn serve(bytes: Vec<u8>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || -> std::io::Result<()> {
        for stream in listener.incoming() {
            let mut stream = stream?;
            read_until(&mut stream, |request| request.ends_with(b"\r\n\r\n"))?;
            for chunk in bytes.chunks(WRITE_BYTES) {
                stream.write_all(chunk)?;
            }
        }
        Ok(())
    });
    Ok(address)
}

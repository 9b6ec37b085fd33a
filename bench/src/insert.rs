//! One insert alone, against the least that it must do: one append and sync, and one round trip.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

use crate::Result;
use crate::client::Client;
use crate::report::{Goal, Report, spread};
use crate::server::{Scratch, Server};
use crate::workload::Workload;

/// The three are measured in turn, for the machine drifts; each turn gives one median each.
const ROUNDS: usize = 24;
/// In each turn.
const INSERTS: usize = 150;
const EVENTS: usize = 1_000;

/// What the journal writes for one value of the workload: head 72, leaf and lengths 92, checksums
/// and salts 40, meta 40, data 200, to a multiple of 8.
const FRAME_BYTES: usize = 448;

/// The sync takes 100 µs (engineering facts: 55 to 103 for such frames), the bare round trip 40:
/// two wakes through loopback. Broker adds two more wakes of a thread, to the appending one and
/// back, at 8 µs each, and some 10 µs of checking, hashing and encoding: 26 µs.
const ESTIMATE_US: f64 = 166.0;
/// 166 / 140.
const ESTIMATE_RATIO: f64 = 1.19;

/// Measures and reports.
pub fn run(report: &mut Report) -> Result<()> {
    let scratch = Scratch::new()?;
    let mut appends = Appends::new(scratch.path())?;
    let (bare, broker) = (Server::bare()?, Server::broker(&scratch, &[])?);
    let mut bare = Inserts::new(bare.address)?.holding(bare);
    let mut broker = Inserts::new(broker.address)?.holding(broker);
    // The first of everything is slow, and not what is asked about.
    (appends.median_us()?, bare.median_us()?, broker.median_us()?);
    let mut runs: [Vec<f64>; 5] = Default::default();
    for _ in 0..ROUNDS {
        let (append, bare, broker) = (appends.median_us()?, bare.median_us()?, broker.median_us()?);
        let all = [append, bare, append + bare, broker, broker / (append + bare)];
        runs.iter_mut().zip(all).for_each(|(runs, value)| runs.push(value));
    }
    let [append, bare, floor, broker, ratio] = &runs;
    report.add("insert", "raw append and fdatasync", "us", append).estimate(100.0);
    report.add("insert", "bare handler's round trip", "us", bare).estimate(40.0);
    report.add("insert", "floor: both", "us", floor).estimate(140.0);
    report.add("insert", "broker", "us", broker).estimate(ESTIMATE_US);
    let ratio = report.add("insert", "broker / floor", "x", ratio);
    ratio.estimate(ESTIMATE_RATIO).goal(Goal::AtMost(1.25));
    Ok(())
}

/// Appends to a file of synced zeros, as the journal does.
struct Appends {
    file: File,
    end: u64,
}

impl Appends {
    fn new(directory: &Path) -> Result<Self> {
        let file = File::create_new(directory.join("floor"))?;
        file.write_all_at(&vec![0; (ROUNDS + 1) * INSERTS * FRAME_BYTES], 0)?;
        file.sync_all()?;
        Ok(Self { file, end: 0 })
    }

    fn median_us(&mut self) -> Result<f64> {
        median_us(|| {
            self.file.write_all_at(&[0xa5; FRAME_BYTES], self.end)?;
            self.file.sync_data()?;
            self.end += FRAME_BYTES as u64;
            Ok(())
        })
    }
}

/// Inserts over one connection.
struct Inserts {
    client: Client,
    requests: std::iter::Cycle<std::vec::IntoIter<Vec<u8>>>,
    server: Option<Server>,
}

impl Inserts {
    fn new(address: SocketAddr) -> Result<Self> {
        let mut workload = Workload::new(1);
        let requests: Vec<_> = (0..EVENTS).map(|event| workload.insert(event)).collect();
        let requests = requests.into_iter().cycle();
        Ok(Self { client: Client::connect(address)?, requests, server: None })
    }

    /// Keeps the server running as long as this.
    fn holding(mut self, server: Server) -> Self {
        self.server = Some(server);
        self
    }

    fn median_us(&mut self) -> Result<f64> {
        median_us(|| {
            let request = self.requests.next().ok_or("a cycle has no end")?;
            self.client.call(&request, 201)?;
            Ok(())
        })
    }
}

fn median_us(mut once: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::with_capacity(INSERTS);
    for _ in 0..INSERTS {
        let started = Instant::now();
        once()?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(spread(&times).median)
}

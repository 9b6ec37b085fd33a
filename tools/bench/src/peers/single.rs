//! One connection: Broker, the least an insert can cost, and Redis, in turn.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use broker_tools::Result;
use broker_tools::http::TIMEOUT;
use broker_tools::report::{Goal, Report};
use broker_tools::scratch::Scratch;
use broker_tools::server::Server;
use broker_tools::synced_file::SyncedFile;
use broker_tools::workload::Workload;

use crate::insert::{APPENDS, median_us};
use crate::peers::broker::{self, EVENTS};
use crate::peers::redis::Redis;
use crate::protocol::{Answer, Protocol};
use crate::servers;

/// Together with the first round, which is slow and not counted, they make [`APPENDS`].
const ROUNDS: usize = 160;

/// The floor is 100 µs for append and sync, and 40 for the round trip. Broker adds two wakes of 8
/// µs and 10 µs of work, or no wakes where the thread that read the insert appends it: 150 to 166.
const ESTIMATE_BROKER_US: f64 = 160.0;
/// A growing file has its size synced too: 150 µs; 30 for the round trip, because one thread reads,
/// appends, syncs and answers.
const ESTIMATE_REDIS_US: f64 = 180.0;

/// Measures and reports.
pub fn run(redis: &Path, report: &mut Report) -> Result<()> {
    let (ours, theirs) = (Scratch::new()?, Scratch::new()?);
    let mut synced_file = SyncedFile::new(&ours.path().join("floor"), APPENDS)?;
    let requests = broker::requests(1);
    let protocol = Redis::new(&mut Workload::new(1), EVENTS);
    let (bare, broker) = (servers::bare()?, Server::broker(&ours, &[])?);
    let redis = Redis::start(redis, &theirs)?;
    let mut bare = SingleConnection::new(&bare, &requests)?;
    let mut broker = SingleConnection::new(&broker, &requests)?;
    let mut redis = SingleConnection::new(&redis, &protocol)?;
    let mut round = || -> Result<[f64; 4]> {
        let append = median_us(|| Ok(synced_file.append()?))?;
        let [bare, broker, redis] =
            [&mut bare, &mut broker, &mut redis].map(|alone| median_us(|| alone.insert()));
        Ok([append, bare?, broker?, redis?])
    };
    round()?;
    let mut runs: [Vec<f64>; 5] = Default::default();
    for _ in 0..ROUNDS {
        let [append, bare, broker, redis] = round()?;
        let floor = append + bare;
        let all = [floor, broker, redis, broker / floor, redis / broker];
        runs.iter_mut().zip(all).for_each(|(runs, value)| runs.push(value));
    }
    let [floor, broker, redis, ratio, advantage] = &runs;
    let name = "1 conn";
    report.add(name, "floor: append, sync, bare handler", "us", floor).estimate(140.0);
    report.add(name, "broker", "us", broker).estimate(ESTIMATE_BROKER_US);
    report.add(name, "redis", "us", redis).estimate(ESTIMATE_REDIS_US);
    let ratio = report.add(name, "broker / floor", "x", ratio);
    ratio.estimate(ESTIMATE_BROKER_US / 140.0).goal(Goal::AtMost(1.2));
    let advantage = report.add(name, "broker / redis, inserts a second", "x", advantage);
    advantage.estimate(ESTIMATE_REDIS_US / ESTIMATE_BROKER_US).goal(Goal::AtLeast(1.0));
    Ok(())
}

/// One connection with blocking calls.
struct SingleConnection<'a> {
    stream: TcpStream,
    protocol: &'a dyn Protocol,
    next: usize,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl<'a> SingleConnection<'a> {
    fn new(server: &Server, protocol: &'a dyn Protocol) -> Result<Self> {
        let mut stream = TcpStream::connect(server.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        protocol.prepare(&mut stream, 0)?;
        Ok(Self { stream, protocol, next: 0, request: Vec::new(), answer: Vec::new() })
    }

    fn insert(&mut self) -> Result<()> {
        self.request.clear();
        self.protocol.request(0, self.next, &mut self.request);
        self.next += 1;
        self.stream.write_all(&self.request)?;
        self.answer.clear();
        let mut buffer = [0; 4096];
        loop {
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            self.answer.extend_from_slice(&buffer[..read]);
            match self.protocol.answer(&self.answer)? {
                Answer::Busy => return Err("a single insert was refused".into()),
                Answer::Done => return Ok(()),
                Answer::Incomplete => {}
            }
        }
    }
}

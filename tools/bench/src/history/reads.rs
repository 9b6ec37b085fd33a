//! Inserts, pages of history and reads of a latest value, with a long history and with a short one.

use std::net::SocketAddr;
use std::time::Instant;

use broker_tools::Result;
use broker_tools::http::{Client, get};
use broker_tools::report::{Goal, Report, spread};
use broker_tools::server::Server;
use broker_tools::statistics::push_each;
use broker_tools::workload::{Workload, name};

use crate::history::size::{Size, workload};

const ROUNDS: usize = 40;
const REQUESTS: usize = 25;
const PAGE: usize = 100;

/// Measures each kind of request in turn on both servers.
pub fn run(
    (few, few_size): (&Server, Size),
    (many, many_size): (&Server, Size),
    report: &mut Report,
) -> Result<()> {
    let mut few = Reader::new(few, few_size);
    let mut many = Reader::new(many, many_size);
    for operation in [Operation::Insert, Operation::Page, Operation::Latest] {
        let mut runs: [Vec<f64>; 3] = Default::default();
        for _ in 0..ROUNDS {
            let (few, many) = (few.round_us(operation)?, many.round_us(operation)?);
            let all = [few, many, many / few];
            push_each(&mut runs, all);
        }
        let [few, many, ratio] = &runs;
        // A sync and a round trip; a hundred scattered records, read one by one; a look-up.
        let (names, estimate) = match operation {
            Operation::Insert => {
                (["insert, little", "insert, much", "insert, much / little"], 160.0)
            }
            Operation::Page => {
                (["page of 100, little", "page of 100, much", "page of 100, much / little"], 900.0)
            }
            Operation::Latest => {
                (["latest read, little", "latest read, much", "latest read, much / little"], 60.0)
            }
        };
        report.add("history", names[0], "us", few).estimate(estimate);
        report.add("history", names[1], "us", many).estimate(estimate * 1.1);
        let ratio = report.add("history", names[2], "x", ratio);
        ratio.estimate(1.1).goal(Goal::AtMost(1.2));
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Operation {
    Insert,
    Latest,
    Page,
}

/// A client of one server.
struct Reader {
    address: SocketAddr,
    size: Size,
    workload: Workload,
    /// Visits the events in a scattered order: the step is coprime to their number.
    event: usize,
}

impl Reader {
    fn new(server: &Server, size: Size) -> Self {
        Self { address: server.address, size, workload: workload(7), event: 0 }
    }

    /// The median of a round in microseconds, on a new connection: if its worker happens to run on
    /// another processor than the client, each request takes 100 us more as long as it lasts.
    fn round_us(&mut self, operation: Operation) -> Result<f64> {
        let mut client = Client::connect(self.address)?;
        let mut times = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS {
            self.event = (self.event + 7_919) % self.size.events;
            let request = match operation {
                Operation::Insert => self.workload.insert(self.event),
                Operation::Latest => get(&format!("/latest?event={}", name(self.event)), ""),
                Operation::Page => get(&format!("/audit/{}?limit={PAGE}", name(self.event)), ""),
            };
            let started = Instant::now();
            match operation {
                Operation::Insert => drop(client.call(&request, 201)?),
                Operation::Latest => {
                    let found = name(self.event);
                    let body = client.call(&request, 200)?;
                    if !body.windows(found.len()).any(|window| window == found.as_bytes()) {
                        return Err("the latest value was not found".into());
                    }
                }
                Operation::Page => {
                    let page = client.call_chunked(&request)?;
                    let records = page.windows(8).filter(|eight| eight == b"\"event\":").count();
                    if records != PAGE {
                        return Err(format!("a page has {records} records").into());
                    }
                }
            }
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
        Ok(spread(&times).median)
    }
}

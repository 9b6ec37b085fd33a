//! What an insert, a page of history and a newest value cost with much history, against little.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Size, get};
use crate::Result;
use crate::http::Client;
use crate::process::Server;
use crate::report::{Goal, Report, spread};
use crate::workload::{Workload, name};

const ROUNDS: usize = 40;
const REQUESTS: usize = 25;
const PAGE: usize = 100;

/// Each kind of request in turn, on both stores.
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
            runs.iter_mut().zip(all).for_each(|(runs, value)| runs.push(value));
        }
        let [few, many, ratio] = &runs;
        // Sync and round trip; a hundred records that lie apart, read one by one; a look-up.
        let (names, estimate) = match operation {
            Operation::Insert => {
                (["insert, little", "insert, much", "insert, much / little"], 160.0)
            }
            Operation::Page => {
                (["page of 100, little", "page of 100, much", "page of 100, much / little"], 900.0)
            }
            Operation::Latest => {
                (["newest read, little", "newest read, much", "newest read, much / little"], 60.0)
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

/// One who asks a store.
struct Reader {
    address: SocketAddr,
    size: Size,
    workload: Workload,
    /// Steps through the events without order, by a number that has no divisor in common.
    event: usize,
}

impl Reader {
    fn new(server: &Server, size: Size) -> Self {
        Self { address: server.address, size, workload: size.workload(7), event: 0 }
    }

    /// The median of a turn in microseconds, on a connection of its own: one whose worker happens to
    /// run on another processor than the client takes 100 us more for each request, for as long as
    /// it lasts.
    fn round_us(&mut self, operation: Operation) -> Result<f64> {
        let mut client = Client::connect(self.address)?;
        let mut times = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS {
            self.event = (self.event + 7_919) % self.size.events;
            let request = match operation {
                Operation::Insert => self.workload.insert(self.event),
                Operation::Latest => get(&format!("/latest?event={}", name(self.event))),
                Operation::Page => get(&format!("/audit/{}?limit={PAGE}", name(self.event))),
            };
            let started = Instant::now();
            match operation {
                Operation::Insert => drop(client.call(&request, 201)?),
                Operation::Latest => {
                    let found = name(self.event);
                    let body = client.call(&request, 200)?;
                    if !body.windows(found.len()).any(|window| window == found.as_bytes()) {
                        return Err("the newest value was not found".into());
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

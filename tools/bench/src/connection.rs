//! A single connection, and rounds of requests over it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use broker_tools::Result;
use broker_tools::http::TIMEOUT;
use broker_tools::report::spread;
use broker_tools::server::Server;

use crate::protocol::{Answer, Protocol};

/// Rounds of a measurement. What is compared is measured in turn, because the machine drifts; each
/// round gives one median of each.
pub const ROUNDS: usize = 160;
/// Repetitions in a round.
const REPETITIONS: usize = 25;
/// Repetitions in all rounds, including a first one that is slow and not counted.
pub const REPETITIONS_ALL: usize = (ROUNDS + 1) * REPETITIONS;

/// A connection with blocking calls.
pub struct SingleConnection<'a> {
    stream: TcpStream,
    protocol: &'a dyn Protocol,
    next: usize,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl<'a> SingleConnection<'a> {
    /// Connects to a server.
    pub fn new(server: &Server, protocol: &'a dyn Protocol) -> Result<Self> {
        let mut stream = TcpStream::connect(server.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        protocol.prepare(&mut stream, 0)?;
        Ok(Self { stream, protocol, next: 0, request: Vec::new(), answer: Vec::new() })
    }

    /// Sends the next request, and waits until it is acknowledged.
    pub fn insert(&mut self) -> Result<()> {
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

/// The median of a round's repetitions, in microseconds.
pub fn median_us(mut once: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::with_capacity(REPETITIONS);
    for _ in 0..REPETITIONS {
        let started = Instant::now();
        once()?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(spread(&times).median)
}

//! The load: one thread, many connections, each sending its next request when the last is
//! answered. It shares the machine with what it measures, so it does as little as it can.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::Result;
use crate::client::parse;
use crate::server::cpu;

/// What came of it.
pub struct Outcome {
    /// Answered 201 a second.
    pub per_second: f64,
    /// Microseconds from a request to its answer, ascending.
    pub latencies_us: Vec<u32>,
    /// CPU that the load itself took a request.
    pub cpu_us: f64,
}

struct Connection {
    stream: TcpStream,
    sent: Instant,
    next: usize,
    answer: Vec<u8>,
}

impl Outcome {
    /// The latency that so much of all requests stayed within.
    pub fn quantile(&self, share: f64) -> f64 {
        let last = self.latencies_us.len() - 1;
        f64::from(self.latencies_us[(last as f64 * share) as usize])
    }
}

/// Sends `requests` in turn over so many connections for a time.
pub fn run(
    address: SocketAddr,
    connections: usize,
    duration: Duration,
    requests: &[Vec<u8>],
) -> Result<Outcome> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(connections);
    let mut open = Vec::with_capacity(connections);
    let started = Instant::now();
    for index in 0..connections {
        let mut stream = TcpStream::from_std(connect(address)?);
        poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
        let next = index * requests.len() / connections;
        open.push(Connection { stream, sent: started, next, answer: Vec::with_capacity(1024) });
    }
    let cpu_before = cpu(std::process::id())?;
    let started = Instant::now();
    for connection in &mut open {
        connection.send(requests)?;
    }
    let mut latencies_us = Vec::with_capacity(1 << 21);
    let mut buffer = [0; 4096];
    while started.elapsed() < duration {
        poll.poll(&mut events, Some(Duration::from_secs(5)))?;
        if events.is_empty() {
            return Err("nothing was answered for five seconds".into());
        }
        for event in &events {
            let connection = &mut open[event.token().0];
            if connection.receive(&mut buffer)? {
                latencies_us.push(connection.sent.elapsed().as_micros() as u32);
                connection.send(requests)?;
            }
        }
    }
    let per_second = latencies_us.len() as f64 / started.elapsed().as_secs_f64();
    let cpu_used = cpu(std::process::id())? - cpu_before;
    let cpu_us = cpu_used.as_secs_f64() * 1e6 / latencies_us.len() as f64;
    latencies_us.sort_unstable();
    Ok(Outcome { per_second, latencies_us, cpu_us })
}

fn connect(address: SocketAddr) -> std::io::Result<std::net::TcpStream> {
    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

impl Connection {
    /// A request is far smaller than a socket's buffer, so one write takes it whole.
    fn send(&mut self, requests: &[Vec<u8>]) -> Result<()> {
        let request = &requests[self.next % requests.len()];
        self.next += 1;
        self.sent = Instant::now();
        if self.stream.write(request)? < request.len() {
            return Err("a request was written in part".into());
        }
        Ok(())
    }

    /// Whether the answer is whole now. The buffer holds more than one answer, so one read empties
    /// the socket, which is what the edge-triggered poll asks for.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<bool> {
        let read = match self.stream.read(buffer) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        self.answer.extend_from_slice(&buffer[..read]);
        let Some(response) = parse(&self.answer) else { return Ok(false) };
        if response.status != 201 || response.end != self.answer.len() {
            return Err(String::from_utf8_lossy(&self.answer).into());
        }
        self.answer.clear();
        Ok(true)
    }
}

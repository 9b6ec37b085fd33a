//! The load: one thread with many connections, each of which sends its next request when the last
//! one is answered. It shares the machine with the server, so it does as little as possible, and
//! the same for every server.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use broker_tools::Result;
use broker_tools::process::cpu;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::protocol::{Answer, Protocol};

/// After a refusal a connection waits this long before it tries again.
const PAUSE: Duration = Duration::from_millis(10);

/// No server that is measured here is silent for longer.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// The outcome of a load.
pub struct Outcome {
    /// Accepted requests a second.
    pub per_second: f64,
    /// Latencies of the accepted requests in microseconds, ascending.
    pub latencies_us: Vec<u32>,
    /// Refusals, each of which was tried again.
    pub refused: u64,
    /// CPU time of the load for a request.
    pub cpu_us: f64,
}

struct Connection {
    stream: TcpStream,
    index: usize,
    sent: Instant,
    /// Number of the next request.
    next: usize,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// Loads a server for a time. Each connection starts with another of the requests.
pub fn run(
    address: SocketAddr,
    connections: usize,
    duration: Duration,
    protocol: &dyn Protocol,
) -> Result<Outcome> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(connections);
    let mut open = Vec::with_capacity(connections);
    for index in 0..connections {
        let mut connection = Connection::open(address, index, protocol)?;
        connection.next = index * protocol.count() / connections;
        poll.registry().register(&mut connection.stream, Token(index), Interest::READABLE)?;
        open.push(connection);
    }
    let cpu_before = cpu(std::process::id())?;
    let started = Instant::now();
    for connection in &mut open {
        connection.send(protocol)?;
    }
    let mut latencies_us = Vec::with_capacity(1 << 21);
    let mut refused = 0;
    // Refused connections, oldest refusal first.
    let mut waiting = VecDeque::new();
    let mut buffer = [0; 4096];
    while started.elapsed() < duration {
        let timeout = if waiting.is_empty() { SILENCE_MAX } else { PAUSE };
        poll.poll(&mut events, Some(timeout))?;
        if events.is_empty() && waiting.is_empty() {
            return Err("nothing was answered for five seconds".into());
        }
        for event in &events {
            let connection = &mut open[event.token().0];
            match connection.receive(protocol, &mut buffer)? {
                Answer::Busy => {
                    refused += 1;
                    waiting.push_back((Instant::now(), event.token().0));
                }
                Answer::Done => {
                    latencies_us.push(connection.sent.elapsed().as_micros() as u32);
                    connection.send(protocol)?;
                }
                Answer::Incomplete => {}
            }
        }
        while waiting.front().is_some_and(|(since, _)| since.elapsed() >= PAUSE) {
            let (_, index) = waiting.pop_front().expect("the loop condition saw one");
            open[index].send(protocol)?;
        }
    }
    if latencies_us.is_empty() {
        return Err("no request was accepted".into());
    }
    let per_second = latencies_us.len() as f64 / started.elapsed().as_secs_f64();
    let cpu_used = cpu(std::process::id())?.saturating_sub(cpu_before);
    let cpu_us = cpu_used.as_secs_f64() * 1e6 / latencies_us.len() as f64;
    latencies_us.sort_unstable();
    Ok(Outcome { per_second, latencies_us, refused, cpu_us })
}

impl Connection {
    fn open(address: SocketAddr, index: usize, protocol: &dyn Protocol) -> Result<Self> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        protocol.prepare(&mut stream, index)?;
        stream.set_nonblocking(true)?;
        let (request, answer) = (Vec::with_capacity(1024), Vec::with_capacity(1024));
        let stream = TcpStream::from_std(stream);
        Ok(Self { stream, index, sent: Instant::now(), next: 0, request, answer })
    }

    /// Sends the next request. It is far smaller than the socket's buffer, so one write takes it.
    fn send(&mut self, protocol: &dyn Protocol) -> Result<()> {
        self.request.clear();
        protocol.request(self.index, self.next, &mut self.request);
        self.next += 1;
        self.sent = Instant::now();
        if self.stream.write(&self.request)? < self.request.len() {
            return Err("a request was only partly written".into());
        }
        Ok(())
    }

    /// Reads what has arrived. The buffer is larger than an answer, so one read empties the socket,
    /// as the edge-triggered poll requires.
    fn receive(&mut self, protocol: &dyn Protocol, buffer: &mut [u8]) -> Result<Answer> {
        let read = match self.stream.read(buffer) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Ok(Answer::Incomplete);
            }
            Err(error) => return Err(error.into()),
        };
        self.answer.extend_from_slice(&buffer[..read]);
        let answer = protocol.answer(&self.answer)?;
        if answer != Answer::Incomplete {
            self.answer.clear();
        }
        Ok(answer)
    }
}

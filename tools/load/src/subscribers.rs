//! The subscribers: many sockets that share one thread, one poll and one read buffer, so that they
//! take as little of the machine as possible, and the same for every server.
//!
//! They count what arrives, and read no more of it than the stamps of values.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use broker_tools::{Error, Result};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::protocol::Handshake;
use crate::socket;
use crate::value::{self, Stamp};

/// Maximum connections that wait for their handshake: fewer than the backlog of any server, so that
/// the kernel drops none, which would be retried only a second later.
const HANDSHAKES_MAX: usize = 400;
/// Maximum time to connect all: 4.5 GB at 30 MB/s.
const CONNECT_MAX: Duration = Duration::from_secs(150);
/// Tokens from here on belong to others.
pub const OTHER_TOKENS_FROM: usize = 1 << 20;
/// Few, so that publishers do not wait long.
const EVENTS_AT_ONCE: usize = 256;
const BUFFER_BYTES: usize = 256 << 10;

/// The connected subscribers, and what they received.
pub struct Subscribers {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    connections: Vec<Subscriber>,
    connected: usize,
    /// Tokens of others that the last poll reported.
    pub other_tokens: Vec<usize>,
    /// What was received since the last reset.
    pub received: Received,
}

/// Clients to connect.
pub struct Clients {
    /// The address of the server.
    pub address: SocketAddr,
    /// Their number.
    pub count: usize,
    /// The handshake of the server.
    pub handshake: &'static Handshake,
    /// Number of values that each receives before it counts as connected.
    pub first_values: u32,
}

/// What all subscribers received together.
#[derive(Default)]
pub struct Received {
    /// Number of deliveries.
    pub values: u64,
    /// Number of bytes.
    pub bytes: u64,
    /// From sending to reading, in microseconds, if `is_timed`.
    pub latencies_us: Vec<u32>,
    /// Whether to keep latencies.
    pub is_timed: bool,
    /// When the last delivery was read.
    pub last_at: u64,
    /// The number of the last value, once it is sent.
    pub last_number: Option<u32>,
    /// Subscribers that received the last value.
    pub up_to_date: usize,
}

struct Subscriber {
    stream: TcpStream,
    handshake: &'static Handshake,
    first_values: u32,
    is_ready: bool,
    is_connected: bool,
    has_started: bool,
    /// Bytes that cannot be parsed without those that follow.
    rest: Vec<u8>,
    values: u32,
    /// Sum of the numbers of its values: equal sums and counts show that the values are the same.
    sum: u64,
}

impl Subscribers {
    /// No subscribers.
    pub fn new() -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_AT_ONCE),
            buffer: vec![0; BUFFER_BYTES],
            connections: Vec::new(),
            connected: 0,
            other_tokens: Vec::new(),
            received: Received::default(),
        })
    }

    /// Number of subscribers.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Connects clients, each with its own request, and waits until all are connected.
    pub fn connect(&mut self, clients: &Clients, request: impl Fn(usize) -> Vec<u8>) -> Result<()> {
        let all = self.connections.len() + clients.count;
        let started = Instant::now();
        while self.connected < all {
            while self.connections.len() < all
                && self.connections.len() - self.connected < HANDSHAKES_MAX
            {
                self.open(clients, &request(self.connections.len()))?;
            }
            self.poll_once(Duration::from_secs(1))?;
            if started.elapsed() > CONNECT_MAX {
                let connected = self.connected;
                return Err(
                    format!("{connected} of {all} are connected after {CONNECT_MAX:?}").into()
                );
            }
        }
        Ok(())
    }

    fn open(&mut self, clients: &Clients, request: &[u8]) -> Result<()> {
        let index = self.connections.len();
        let mut stream = socket::connect(clients.address, index)?;
        if stream.write(request)? < request.len() {
            return Err("a request was only partly written".into());
        }
        let mut stream = TcpStream::from_std(stream);
        self.register(&mut stream, index)?;
        self.connections.push(Subscriber {
            stream,
            handshake: clients.handshake,
            first_values: clients.first_values,
            is_ready: false,
            is_connected: false,
            has_started: false,
            rest: Vec::new(),
            values: 0,
            sum: 0,
        });
        Ok(())
    }

    /// Registers a socket with the poll.
    pub fn register(&self, stream: &mut TcpStream, token: usize) -> Result<()> {
        Ok(self.poll.registry().register(stream, Token(token), Interest::READABLE)?)
    }

    /// Reads everything that has arrived, or waits until something does.
    pub fn poll_once(&mut self, timeout: Duration) -> Result<()> {
        self.other_tokens.clear();
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            let Token(token) = event.token();
            let Some(subscriber) = self.connections.get_mut(token) else {
                self.other_tokens.push(token);
                continue;
            };
            let was_connected = subscriber.is_connected;
            subscriber.read(&mut self.buffer, &mut self.received)?;
            self.connected += usize::from(subscriber.is_connected && !was_connected);
        }
        Ok(())
    }

    /// Forgets what was received.
    pub fn reset(&mut self) {
        let is_timed = self.received.is_timed;
        self.received = Received { is_timed, ..Received::default() };
        for subscriber in &mut self.connections {
            (subscriber.values, subscriber.sum) = (0, 0);
        }
    }

    /// Subscribers whose values differ from this count of values and this sum of their numbers.
    pub fn incomplete(&self, values: u32, sum: u64) -> usize {
        self.connections.iter().filter(|one| (one.values, one.sum) != (values, sum)).count()
    }

    /// Closes all connections.
    pub fn disconnect(&mut self) {
        self.connections.clear();
        self.connected = 0;
    }
}

impl Subscriber {
    /// Reads until the socket is empty, as the edge-triggered poll requires.
    fn read(&mut self, buffer: &mut [u8], received: &mut Received) -> Result<()> {
        loop {
            let kept = self.rest.len();
            buffer[..kept].copy_from_slice(&self.rest);
            let read = match self.stream.read(&mut buffer[kept..]) {
                Ok(0) => return Err(ended(&buffer[..kept])),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.take(&buffer[..kept + read], received)?;
            received.bytes += read as u64;
            if kept + read < buffer.len() {
                return Ok(());
            }
        }
    }

    fn take(&mut self, bytes: &[u8], received: &mut Received) -> Result<()> {
        if !self.has_started {
            let start = self.handshake.start;
            if bytes.len() >= start.len() && !bytes.starts_with(start) {
                return Err(ended(bytes));
            }
            self.has_started = bytes.len() >= start.len();
        }
        let now = value::now();
        let (values, sum) = (&mut self.values, &mut self.sum);
        let mut kept_from = value::stamps(bytes, |stamp| {
            *values += 1;
            *sum += u64::from(stamp.number);
            received.take(stamp, now);
        })?;
        if !self.is_connected {
            let ready = self.handshake.ready;
            self.is_ready |= memchr::memmem::find(bytes, ready).is_some();
            self.is_connected = self.is_ready && self.values >= self.first_values;
            // Shorter than a stamp, so that no stamp is found twice.
            kept_from = kept_from.min(bytes.len().saturating_sub(ready.len() - 1));
        }
        if !self.has_started {
            kept_from = 0;
        }
        self.rest.clear();
        self.rest.extend_from_slice(&bytes[kept_from..]);
        Ok(())
    }
}

impl Received {
    fn take(&mut self, stamp: Stamp, now: u64) {
        self.values += 1;
        self.last_at = now;
        if self.is_timed {
            self.latencies_us.push((now.saturating_sub(stamp.at) / 1_000) as u32);
        }
        if self.last_number == Some(stamp.number) {
            self.up_to_date += 1;
        }
    }
}

fn ended(bytes: &[u8]) -> Error {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(1_000)]);
    format!("the server ended a stream with: {start}").into()
}

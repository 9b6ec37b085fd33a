//! The protocols of servers, so that one load measures them all.

use std::io;
use std::net::TcpStream;

use broker_tools::http::parse;
use broker_tools::workload::Workload;
use broker_tools::{Error, Result};

/// Events that the inserts of a load are spread over.
pub const EVENTS: usize = 1_000;

/// What has arrived of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A refusal: the request is to be sent again.
    Busy,
    /// All of it: the request was accepted.
    Done,
    /// Only a part.
    Incomplete,
}

/// How a server is asked to store a value, and acknowledges it.
pub trait Protocol {
    /// Prepares a new connection, which blocks, for requests.
    fn prepare(&self, _stream: &mut TcpStream, _connection: usize) -> Result<()> {
        Ok(())
    }

    /// The number of different requests, which are sent in turn.
    fn count(&self) -> usize;

    /// Appends the request of this number to `out`.
    fn request(&self, connection: usize, number: usize, out: &mut Vec<u8>);

    /// Parses everything that has arrived since the last answer.
    fn answer(&self, bytes: &[u8]) -> Result<Answer>;
}

/// HTTP requests that are sent in turn.
pub struct HttpRequests {
    requests: Vec<Vec<u8>>,
    status: u16,
}

impl HttpRequests {
    /// Inserts into Broker or the bare handler.
    pub fn inserts(seed: u64) -> Self {
        let mut workload = Workload::new(seed);
        Self::new((0..EVENTS).map(|event| workload.insert(event)).collect(), 201)
    }

    /// Requests that are acknowledged with this status.
    pub fn new(requests: Vec<Vec<u8>>, status: u16) -> Self {
        Self { requests, status }
    }
}

impl Protocol for HttpRequests {
    fn count(&self) -> usize {
        self.requests.len()
    }

    fn request(&self, _connection: usize, number: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.requests[number % self.requests.len()]);
    }

    fn answer(&self, bytes: &[u8]) -> Result<Answer> {
        let Some(response) = parse(bytes) else { return Ok(Answer::Incomplete) };
        match response.status {
            503 => Ok(Answer::Busy),
            status if status == self.status && response.end == bytes.len() => Ok(Answer::Done),
            _ => Err(refusal(bytes)),
        }
    }
}

/// The error for an unexpected answer.
pub fn refusal(bytes: &[u8]) -> Error {
    io::Error::other(format!("unexpected answer: {}", String::from_utf8_lossy(bytes))).into()
}

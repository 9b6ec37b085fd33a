//! What the load needs to know of a server's protocol, so that one load measures them all.

use std::io;
use std::net::TcpStream;

use crate::Result;
use crate::http::parse;

/// What has arrived of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Refused for now: it is to be asked again.
    Busy,
    /// All, and it was taken in.
    Done,
    /// Not all yet.
    Incomplete,
}

/// How one server is asked to take in a value, and says that it did.
pub trait Protocol {
    /// Makes a new connection, which blocks, ready for requests.
    fn prepare(&self, _stream: &mut TcpStream, _connection: usize) -> Result<()> {
        Ok(())
    }

    /// How many different requests there are; they are sent in turn.
    fn count(&self) -> usize;

    /// Appends a connection's request of this number to `out`.
    fn request(&self, connection: usize, number: usize, out: &mut Vec<u8>);

    /// Looks at all that has arrived since the last answer.
    fn answer(&self, bytes: &[u8]) -> Result<Answer>;
}

/// Requests of HTTP that are sent in turn.
pub struct HttpRequests {
    requests: Vec<Vec<u8>>,
    status: u16,
}

impl HttpRequests {
    /// Requests that are answered with this status.
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

/// The error for an answer that was not expected.
pub fn refusal(bytes: &[u8]) -> Box<dyn std::error::Error> {
    io::Error::other(format!("unexpected answer: {}", String::from_utf8_lossy(bytes))).into()
}

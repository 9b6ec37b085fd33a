//! HTTP/1.1 requests, and a client that does no more than measuring a known server takes.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The header of a request for an event stream.
pub const ACCEPT_EVENTS: &str = "Accept: text/event-stream\r\n";

/// Longer than anything here takes, so that a bench ends when a server hangs.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A complete response.
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Offset of the body.
    pub body_at: usize,
    /// Offset of the end of the response.
    pub end: usize,
}

/// A keep-alive connection with blocking calls.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// Finds the response at the start of `bytes`, which must state its length.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Response> {
    let body_at = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..body_at]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.get(9..12)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok()).flatten()
    })?;
    let end = body_at + length;
    (bytes.len() >= end).then_some(Response { status, body_at, end })
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { stream, buffer: vec![0; 1 << 20] })
    }

    /// Sends a request and returns the body of the response, which must have this status.
    pub fn call(&mut self, request: &[u8], status: u16) -> io::Result<&[u8]> {
        let response = self.exchange(request)?;
        let body = &self.buffer[response.body_at..response.end];
        if response.status != status {
            return Err(refused(response.status, body));
        }
        Ok(body)
    }

    /// Like `call`, but returns false when the server answers 503.
    pub fn call_unless_unavailable(&mut self, request: &[u8], status: u16) -> io::Result<bool> {
        let response = self.exchange(request)?;
        match response.status {
            503 => Ok(false),
            found if found == status => Ok(true),
            found => Err(refused(found, &self.buffer[response.body_at..response.end])),
        }
    }

    /// Like `call` with status 200 for a chunked response, which is returned with its framing.
    pub fn call_chunked(&mut self, request: &[u8]) -> io::Result<&[u8]> {
        self.stream.write_all(request)?;
        let mut len = 0;
        while !self.buffer[..len].ends_with(b"\r\n0\r\n\r\n") {
            len += self.receive(len)?;
        }
        if !self.buffer.starts_with(b"HTTP/1.1 200 ") {
            return Err(refused(0, &self.buffer[..len]));
        }
        Ok(&self.buffer[..len])
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<Response> {
        self.stream.write_all(request)?;
        let mut len = 0;
        loop {
            len += self.receive(len)?;
            if let Some(response) = parse(&self.buffer[..len]) {
                return Ok(response);
            }
        }
    }

    /// Reads more bytes behind the first `len`.
    fn receive(&mut self, len: usize) -> io::Result<usize> {
        match self.stream.read(&mut self.buffer[len..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

/// A GET request with further headers, each of which ends its line.
#[must_use]
pub fn get(target: &str, headers: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
}

/// A request that posts JSON.
#[must_use]
pub fn post(target: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {len}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Reads from a stream until `is_complete` holds for everything that was read.
pub fn read_until(
    stream: &mut TcpStream,
    is_complete: impl Fn(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while !is_complete(&bytes) {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(bytes)
}

fn refused(status: u16, body: &[u8]) -> io::Error {
    io::Error::other(format!("{status}: {}", String::from_utf8_lossy(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_is_found_when_its_stated_length_has_arrived() {
        let bytes = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1";
        let body_at = bytes.len() - "{}HTTP/1.1".len();
        let response = parse(bytes).expect("it is complete");
        assert_eq!((response.status, response.body_at, response.end), (201, body_at, body_at + 2));
        assert!((0..response.end).all(|end| parse(&bytes[..end]).is_none()));
    }
}

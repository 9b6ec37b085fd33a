//! An HTTP/1.1 client that sends exactly the given bytes and keeps exactly the received ones.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::harness::wait::WAIT_MAX;

/// The media type of inserts.
pub const JSON: &str = "Content-Type: application/json";

/// One connection to a server.
pub struct Connection {
    socket: TcpStream,
    /// Bytes read from the socket and not yet returned.
    buffer: Vec<u8>,
}

/// The connection ended in the middle of a chunked body.
#[derive(Debug)]
pub struct Truncated;

/// A complete response.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
}

/// Header lines in the order received, names in lower case.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The value of a header that occurs at most once.
    pub fn find(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let first = found.next();
        assert_eq!(found.next(), None, "{name} occurs twice");
        first
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.find(name)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts the status and returns the answer.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, self.show());
        self
    }

    /// Asserts that the answer is a problem with this status and code, and returns it.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, self.show());
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["type"], format!("urn:broker:problem:{code}"), "{problem}");
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
        problem
    }

    fn show(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(2_000)]).into_owned()
    }
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("the server accepts")
    }

    /// `None` if nobody listens.
    pub fn try_open(address: SocketAddr) -> Option<Self> {
        TcpStream::connect(address).ok().map(Self::of)
    }

    /// Sets the size of the receive buffer: with a small one a stalled reader blocks the server
    /// quickly.
    pub fn with_receive_buffer(address: SocketAddr, bytes: usize) -> Self {
        let socket =
            Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a receive buffer");
        socket.connect(&address.into()).expect("the server accepts");
        Self::of(TcpStream::from(socket))
    }

    fn of(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(WAIT_MAX)).expect("a timeout");
        socket.set_nodelay(true).expect("no delay");
        Self { socket, buffer: Vec::new() }
    }

    /// Ends with a reset (RST), like a killed process with unread bytes.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.socket);
        socket.set_linger(Some(Duration::ZERO)).expect("linger");
    }

    /// Sends bytes. Returns whether the connection took them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).is_ok()
    }

    /// The next line without its LF, or `None` at the end of the connection.
    pub fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer[..end].to_vec();
                self.buffer.drain(..=end);
                return Some(line);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Exactly `len` bytes, or `None` if the connection ends before.
    pub fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < len {
            if !self.fill() {
                return None;
            }
        }
        Some(self.buffer.drain(..len).collect())
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads more bytes. False at the end of the connection, regular or not.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 << 10];
        match self.socket.read(&mut chunk) {
            Ok(0) => false,
            Ok(len) => {
                self.buffer.extend_from_slice(&chunk[..len]);
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing received for {WAIT_MAX:?}; {} bytes buffered", self.buffer.len())
            }
            Err(_) => false,
        }
    }

    /// Status and headers, or `None` if the connection ends before.
    pub fn head(&mut self) -> Option<(u16, Headers)> {
        let status = text(self.line()?);
        let code = status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let mut headers = Vec::new();
        loop {
            let line = text(self.line()?);
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').expect("a header line has a colon");
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Some((code.unwrap_or_else(|| panic!("no status line: {status}")), Headers(headers)))
    }

    /// The next chunk of a chunked body, or `None` for the final chunk.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, Truncated> {
        let size = text(self.line().ok_or(Truncated)?);
        let size = usize::from_str_radix(&size, 16).expect("the size of a chunk");
        let chunk = self.take(size).ok_or(Truncated)?;
        let end = self.take(2).ok_or(Truncated)?;
        assert_eq!(end, b"\r\n", "a chunk ends with a line break");
        Ok((size > 0).then_some(chunk))
    }

    /// A complete answer to a request with `method`, or `None` if the connection ends before.
    pub fn answer(&mut self, method: &str) -> Option<Answer> {
        let (status, headers) = self.head()?;
        let chunked = headers.find("transfer-encoding") == Some("chunked");
        let body = if method == "HEAD" || matches!(status, 204 | 304) {
            Vec::new()
        } else if chunked {
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk().ok()? {
                body.extend_from_slice(&chunk);
            }
            body
        } else if let Some(len) = headers.find("content-length") {
            self.take(len.parse().expect("a length"))?
        } else {
            self.rest()
        };
        Some(Answer { status, headers, body })
    }
}

fn text(line: Vec<u8>) -> String {
    let mut line = String::from_utf8(line).expect("heads are UTF-8");
    if line.ends_with('\r') {
        line.pop();
    }
    line
}

/// The bytes of a request. `headers` are lines without line breaks.
pub fn request(method: &str, target: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut lines = vec![format!("{method} {target} HTTP/1.1")];
    let has = |name: &str| headers.iter().any(|h| h.to_ascii_lowercase().starts_with(name));
    if !has("host:") {
        lines.push("Host: localhost".to_owned());
    }
    if !has("content-length:")
        && !has("transfer-encoding:")
        && (!body.is_empty() || method == "POST")
    {
        lines.push(format!("Content-Length: {}", body.len()));
    }
    lines.extend(headers.iter().map(|header| (*header).to_owned()));
    let mut out = lines.join("\r\n").into_bytes();
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
    out
}

/// Sends each request on a new connection and closes it afterwards.
#[derive(Clone, Copy, Debug)]
pub struct Client(pub SocketAddr);

impl Client {
    #[track_caller]
    pub fn send(self, method: &str, target: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut headers = headers.to_vec();
        headers.push("Connection: close");
        let answer = self.raw(method, &request(method, target, &headers, body));
        answer.unwrap_or_else(|| panic!("{method} {target} got no complete answer"))
    }

    /// Sends raw bytes. `None` if no complete answer came.
    pub fn raw(self, method: &str, bytes: &[u8]) -> Option<Answer> {
        let mut connection = Connection::open(self.0);
        connection.send(bytes);
        connection.answer(method)
    }

    #[track_caller]
    pub fn get(self, target: &str) -> Answer {
        self.send("GET", target, &[], b"")
    }

    #[track_caller]
    pub fn get_with(self, target: &str, headers: &[&str]) -> Answer {
        self.send("GET", target, headers, b"")
    }

    /// Posts to `/insert`.
    #[track_caller]
    pub fn insert(self, body: impl AsRef<[u8]>) -> Answer {
        self.send("POST", "/insert", &[JSON], body.as_ref())
    }

    /// Inserts `data`, which is JSON text, as `event` and returns the receipt.
    #[track_caller]
    pub fn put(self, event: &str, data: &str) -> Value {
        let event = Value::from(event);
        self.insert(format!("{{\"event\":{event},\"data\":{data}}}")).expect(201).json()
    }

    /// The lines of `/log` or of another route that answers with one record a line.
    #[track_caller]
    pub fn lines(self, target: &str) -> Vec<String> {
        let answer = self.send("GET", target, &["Accept: application/x-ndjson"], b"").expect(200);
        assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
        let text = answer.text();
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is complete");
        text.lines().map(str::to_owned).collect()
    }
}

//! An HTTP/1.1 client for a server that may stop, be killed or hang in the middle of an answer.
//!
//! The HTTP client of the benches accepts only answers with a stated length and fails at the first
//! surprise; this one has to report surprises.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use broker_tools::{Result, ensure};

/// After any fault there is an answer, an error or an exit within 11 s; one second is added for a
/// busy machine.
pub const ANSWER_MAX: Duration = Duration::from_secs(12);

/// A keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A complete answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// The address of a server; each request uses a new connection.
#[derive(Clone, Copy, Debug)]
pub struct Client(pub SocketAddr);

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sets the maximum duration of a read.
    pub fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(timeout))
    }

    /// Sends a request.
    pub fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: &str,
    ) -> io::Result<()> {
        let len = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}\r\n{headers}\r\n"
        );
        self.stream.write_all((head + body).as_bytes())
    }

    /// The next line, without its line ending.
    pub fn line(&mut self) -> io::Result<String> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(searched + end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.truncate(line.len() - if line.ends_with(b"\r\n") { 2 } else { 1 });
                return String::from_utf8(line).map_err(io::Error::other);
            }
            searched = self.buffer.len();
            self.fill()?;
        }
    }

    /// Reads the status line and the headers of an answer: the status, the stated length, and
    /// whether the body is chunked.
    pub fn head(&mut self) -> io::Result<(u16, Option<usize>, bool)> {
        let line = self.line()?;
        let status = line.get(9..12).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status: {line}")))?;
        let (mut length, mut chunked) = (None, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                return Ok((status, length, chunked));
            }
            length = length.or(line.strip_prefix("content-length: ").and_then(|n| n.parse().ok()));
            chunked |= line == "transfer-encoding: chunked";
        }
    }

    /// The next complete answer.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let (status, length, chunked) = self.head()?;
        let mut body = Vec::new();
        if chunked {
            while let Some(chunk) = self.chunk()? {
                body.extend(chunk);
            }
        } else if let Some(length) = length {
            body = self.take(length)?;
        }
        Ok(Answer { status, body: String::from_utf8(body).map_err(io::Error::other)? })
    }

    /// The next chunk; `None` at the regular end.
    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = usize::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
        let mut chunk = self.take(size + 2)?;
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }

    /// The next chunk of a stream; `None` at its regular end. Nothing received is lost by an error,
    /// so the read can be repeated after a timeout.
    pub fn stream_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let size = std::str::from_utf8(&self.buffer[..at]).map_err(io::Error::other)?;
                let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
                if self.buffer.len() >= at + 2 + size + 2 {
                    let rest = self.buffer.split_off(at + 2 + size + 2);
                    let chunk = std::mem::replace(&mut self.buffer, rest);
                    return Ok((size > 0).then(|| chunk[at + 2..at + 2 + size].to_vec()));
                }
            }
            self.fill()?;
        }
    }

    fn take(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < len {
            self.fill()?;
        }
        let rest = self.buffer.split_off(len);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; 64 << 10];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            len => {
                self.buffer.extend_from_slice(&chunk[..len]);
                Ok(())
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The peer may be gone.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Answer {
    /// The code of a problem.
    pub fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or("no code").to_owned()
    }

    /// Whether it explicitly says that there is no answer now.
    pub fn is_refusal(&self) -> bool {
        self.status >= 500
    }
}

impl Client {
    /// Sends one request.
    pub fn ask(self, method: &str, target: &str, headers: &str, body: &str) -> io::Result<Answer> {
        let mut connection = Connection::open(self.0)?;
        let headers = format!("{headers}Connection: close\r\n");
        connection.send(method, target, &headers, body)?;
        connection.answer()
    }

    /// Sends a GET.
    pub fn get(self, target: &str) -> io::Result<Answer> {
        self.ask("GET", target, "Accept: application/x-ndjson\r\n", "")
    }

    /// Sends a POST to `/insert`.
    pub fn insert(self, body: &str) -> io::Result<Answer> {
        self.ask("POST", "/insert", "Content-Type: application/json\r\n", body)
    }

    /// The lines of an answer, which must have status 200 and be complete.
    pub fn lines(self, target: &str) -> Result<Vec<String>> {
        let answer = self.get(target)?;
        ensure!(answer.status == 200, "GET {target}: {} {}", answer.status, answer.body);
        let whole = answer.body.is_empty() || answer.body.ends_with('\n');
        ensure!(whole, "GET {target}: the last line is cut");
        Ok(answer.body.lines().map(str::to_owned).collect())
    }

    /// The JSON of `/health`.
    pub fn health(self) -> Result<serde_json::Value> {
        let answer = self.get("/health")?;
        ensure!(answer.status == 200, "GET /health: {}", answer.status);
        Ok(serde_json::from_str(&answer.body)?)
    }
}

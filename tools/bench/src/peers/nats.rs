//! NATS JetStream with one stream on disk, and what acknowledged publishing needs of its protocol:
//! <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use broker_tools::Result;
use broker_tools::http::{TIMEOUT, read_until};
use broker_tools::process::free_port;
use broker_tools::scratch::Scratch;
use broker_tools::server::Server;
use broker_tools::workload::{Workload, name};

use crate::protocol::{Answer, EVENTS, Protocol, refusal};

/// One stream holds all events, and keeps everything as Broker does.
const STREAM: &str = concat!(
    r#"{"name":"BENCH","subjects":["bench.>"],"storage":"file","retention":"limits","#,
    r#""discard":"new","num_replicas":1,"allow_direct":true}"#
);

/// Publishes over the NATS protocol.
pub struct Nats {
    /// For each event, what precedes and follows the inbox of a connection.
    requests: Vec<(String, String)>,
}

impl Nats {
    /// Publishes under a subject for each event.
    pub fn new(seed: u64) -> Self {
        let mut workload = Workload::new(seed);
        let request = |event| {
            let value = workload.value();
            (format!("PUB {} ", name(event)), format!(" {}\r\n{value}\r\n", value.len()))
        };
        Self { requests: (0..EVENTS).map(request).collect() }
    }

    /// Starts a server that syncs before it acknowledges, and creates the stream.
    pub fn start(program: &Path, scratch: &Scratch) -> Result<Server> {
        let port = free_port()?;
        let settings = format!(
            "listen: \"127.0.0.1:{port}\"\n\
             jetstream {{ store_dir: \"jetstream\", sync_interval: always }}\n"
        );
        fs::write(scratch.path().join("settings"), settings)?;
        let mut command = Command::new(program);
        let server = Server::peer(scratch, command.args(["--config", "settings"]), port)?;
        let mut stream = TcpStream::connect(server.address)?;
        let nats = Self { requests: Vec::new() };
        nats.prepare(&mut stream, 0)?;
        let len = STREAM.len();
        write!(stream, "PUB $JS.API.STREAM.CREATE.BENCH {} {len}\r\n{STREAM}\r\n", inbox(0))?;
        let answer = read_until(&mut stream, |bytes| bytes.ends_with(b"}\r\n"))?;
        let text = String::from_utf8_lossy(&answer);
        if text.contains("\"error\"") || !text.contains("\"config\"") {
            return Err(refusal(&answer));
        }
        Ok(server)
    }
}

impl Protocol for Nats {
    /// Subscribes to the connection's inbox, and waits until the server has confirmed it.
    fn prepare(&self, stream: &mut TcpStream, connection: usize) -> Result<()> {
        stream.set_read_timeout(Some(TIMEOUT))?;
        let connect = r#"CONNECT {"verbose":false,"pedantic":false}"#;
        write!(stream, "{connect}\r\nSUB {} 1\r\nPING\r\n", inbox(connection))?;
        read_until(stream, |bytes| bytes.ends_with(b"PONG\r\n"))?;
        Ok(())
    }

    fn count(&self) -> usize {
        self.requests.len()
    }

    fn request(&self, connection: usize, number: usize, out: &mut Vec<u8>) {
        let (before, after) = &self.requests[number % self.requests.len()];
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(inbox(connection).as_bytes());
        out.extend_from_slice(after.as_bytes());
    }

    /// An answer is `MSG`, inbox, subscription and length in a line, then the acknowledgement. A
    /// `PING` may precede it, and needs no answer: the server waits for one longer than a run
    /// takes.
    fn answer(&self, mut bytes: &[u8]) -> Result<Answer> {
        while let Some(rest) = bytes.strip_prefix(b"PING\r\n") {
            bytes = rest;
        }
        let Some(line_end) = bytes.windows(2).position(|two| two == b"\r\n") else {
            return Ok(Answer::Incomplete);
        };
        let line = std::str::from_utf8(&bytes[..line_end])?;
        let len = line.strip_prefix("MSG ").and_then(|rest| rest.rsplit(' ').next()?.parse().ok());
        let len: usize = len.ok_or_else(|| refusal(bytes))?;
        let Some(message) = bytes.get(line_end + 2..line_end + 2 + len + 2) else {
            return Ok(Answer::Incomplete);
        };
        if message.starts_with(br#"{"stream":"BENCH","#) {
            return Ok(Answer::Done);
        }
        Err(refusal(bytes))
    }
}

/// The subject on which a connection receives its acknowledgements.
fn inbox(connection: usize) -> String {
    format!("_INBOX.{connection:04}")
}

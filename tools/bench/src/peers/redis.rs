//! Redis, which appends every command to a file.
//!
//! `XADD` is its nearest equivalent of an append: it creates an id of time and number, and keeps
//! all entries of a stream for range reads. `RPUSH` would do less.

use std::path::Path;
use std::process::Command;

use broker_tools::Result;
use broker_tools::process::free_port;
use broker_tools::scratch::Scratch;
use broker_tools::server::Server;
use broker_tools::workload::{Workload, name};

use crate::protocol::{Answer, EVENTS, Protocol, refusal};

/// Inserts over the Redis protocol.
pub struct Redis {
    requests: Vec<Vec<u8>>,
}

impl Redis {
    /// Inserts into a stream for each event.
    pub fn new(seed: u64) -> Self {
        let mut workload = Workload::new(seed);
        let request = |event| command(&["XADD", &name(event), "*", "data", &workload.value()]);
        Self { requests: (0..EVENTS).map(request).collect() }
    }

    /// Starts a server that syncs before it answers. It neither makes snapshots nor rewrites its
    /// file, so that only appending is measured.
    pub fn start(program: &Path, scratch: &Scratch) -> Result<Server> {
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        command.args(["--auto-aof-rewrite-percentage", "0"]);
        Server::peer(scratch, &mut command, port)
    }
}

impl Protocol for Redis {
    fn count(&self) -> usize {
        self.requests.len()
    }

    fn request(&self, _connection: usize, number: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.requests[number % self.requests.len()]);
    }

    /// The answer is the new id: its length in a line, then the id in another.
    fn answer(&self, bytes: &[u8]) -> Result<Answer> {
        if !bytes.starts_with(b"$") {
            return Err(refusal(bytes));
        }
        let lines = bytes.windows(2).filter(|two| two == b"\r\n").count();
        Ok(if lines == 2 { Answer::Done } else { Answer::Incomplete })
    }
}

fn command(words: &[&str]) -> Vec<u8> {
    let words_text = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), words_text.collect::<String>()).into_bytes()
}

//! What is inserted: values of equal length under names of equal length, the same in every run.

use std::fmt::Write as _;

/// Length of a value in bytes, unless another is asked for.
pub const DATA_BYTES: usize = 200;

/// A source of inserts; equal seeds give equal bytes.
pub struct Workload {
    state: u64,
    data_bytes: usize,
}

/// The name of an event.
pub fn name(event: usize) -> String {
    format!("bench.{event:06}")
}

impl Workload {
    /// One that starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self::sized(seed, DATA_BYTES)
    }

    /// One with values of another length.
    pub fn sized(seed: u64, data_bytes: usize) -> Self {
        Self { state: seed | 1, data_bytes }
    }

    /// A whole request that inserts one value.
    pub fn insert(&mut self, event: usize) -> Vec<u8> {
        post("/insert", &self.body(event))
    }

    /// A whole request that inserts one value of each event, atomically.
    pub fn batch(&mut self, events: impl Iterator<Item = usize>) -> Vec<u8> {
        let bodies: Vec<_> = events.map(|event| self.body(event)).collect();
        post("/insert", &format!("[{}]", bodies.join(",")))
    }

    /// The JSON that names an event and gives it a value.
    pub fn body(&mut self, event: usize) -> String {
        format!("{{\"event\":\"{}\",\"data\":{}}}", name(event), self.value())
    }

    /// A value, which is JSON.
    pub fn value(&mut self) -> String {
        let mut data = String::from("{\"text\":\"");
        while data.len() < self.data_bytes - 2 {
            // Incompressible, and without anything to escape.
            write!(data, "{:016x}", self.next()).expect("a string takes all text");
        }
        data.truncate(self.data_bytes - 2);
        data.push_str("\"}");
        data
    }

    /// xorshift64.
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}

/// A whole request that posts JSON.
pub fn post(path: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {len}\r\n\r\n{body}"
    )
    .into_bytes()
}

//! What is inserted: values of 200 bytes under names of equal length, the same in every run.

use std::fmt::Write as _;

/// Length of a value in bytes.
pub const DATA_BYTES: usize = 200;

/// A source of inserts; equal seeds give equal bytes.
pub struct Workload(u64);

impl Workload {
    /// One that starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A whole request that inserts one value.
    pub fn insert(&mut self, event: usize) -> Vec<u8> {
        post(&self.body(event))
    }

    /// A whole request that inserts one value of each event, atomically.
    pub fn batch(&mut self, events: impl Iterator<Item = usize>) -> Vec<u8> {
        let bodies: Vec<_> = events.map(|event| self.body(event)).collect();
        post(&format!("[{}]", bodies.join(",")))
    }

    fn body(&mut self, event: usize) -> String {
        let mut data = String::from("{\"text\":\"");
        while data.len() < DATA_BYTES - 2 {
            // Incompressible, and without anything to escape.
            write!(data, "{:016x}", self.next()).expect("a string takes all text");
        }
        data.truncate(DATA_BYTES - 2);
        data.push_str("\"}");
        format!("{{\"event\":\"bench.{event:06}\",\"data\":{data}}}")
    }

    /// xorshift64.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn post(body: &str) -> Vec<u8> {
    let len = body.len();
    format!(
        "POST /insert HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {len}\r\n\r\n{body}"
    )
    .into_bytes()
}

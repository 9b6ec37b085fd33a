//! Values to insert, of equal length under names of equal length, and the same in every run.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::error::Result;
use crate::http::{Client, post};

/// Default length of a value in bytes.
pub const DATA_BYTES: usize = 200;
/// Maximum events of a batch.
const BATCH: usize = 1_000;

/// A source of inserts; equal seeds give equal bytes.
pub struct Workload {
    state: u64,
    data_bytes: usize,
}

/// The name of an event by number.
#[must_use]
pub fn name(event: usize) -> String {
    format!("bench.{event:06}")
}

impl Workload {
    /// Values of the default length.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::sized(seed, DATA_BYTES)
    }

    /// Values of another length.
    #[must_use]
    pub fn sized(seed: u64, data_bytes: usize) -> Self {
        Self { state: seed | 1, data_bytes }
    }

    /// A request that inserts one value.
    pub fn insert(&mut self, event: usize) -> Vec<u8> {
        post("/insert", &self.body(event))
    }

    /// A request that inserts one value of each event, atomically.
    pub fn batch(&mut self, events: impl Iterator<Item = usize>) -> Vec<u8> {
        let bodies: Vec<_> = events.map(|event| self.body(event)).collect();
        post("/insert", &format!("[{}]", bodies.join(",")))
    }

    /// The JSON of an insert.
    pub fn body(&mut self, event: usize) -> String {
        format!("{{\"event\":\"{}\",\"data\":{}}}", name(event), self.value())
    }

    /// A JSON value.
    pub fn value(&mut self) -> String {
        let mut data = String::from("{\"text\":\"");
        while data.len() < self.data_bytes - 2 {
            // Incompressible, and without characters to escape.
            write!(data, "{:016x}", self.next()).expect("writing to a string");
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

/// Inserts events, given as JSON, in batches.
pub fn insert_all(address: SocketAddr, inserts: impl Iterator<Item = String>) -> Result {
    let mut client = Client::connect(address)?;
    let mut inserts = inserts.peekable();
    while inserts.peek().is_some() {
        let batch: Vec<_> = inserts.by_ref().take(BATCH).collect();
        client.call(&post("/insert", &format!("[{}]", batch.join(","))), 201)?;
    }
    Ok(())
}

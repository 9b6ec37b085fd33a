//! A client for server-sent events that checks every line against the contract.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::Value;

use crate::harness::wire::{Connection, Headers, request};

/// An open stream.
pub struct EventStream {
    connection: Connection,
    pub headers: Headers,
    buffer: Vec<u8>,
    lines: VecDeque<String>,
    ended: bool,
}

/// One block, `raw` as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub id: String,
    pub event: Option<String>,
    pub data: String,
    pub retry: Option<u64>,
    pub raw: String,
}

/// The next item of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamItem {
    Block(Block),
    /// The line `:`.
    Heartbeat,
    /// A `retry` line outside of a block, in milliseconds, followed by the end of the stream.
    Retry(u64),
    /// The end of the stream without a `retry` line.
    End,
}

impl Block {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).expect("the data is JSON")
    }

    pub fn seq(&self) -> u64 {
        self.json()["seq"].as_u64().expect("a record has a seq")
    }

    pub fn version(&self) -> u64 {
        self.json()["version"].as_u64().expect("a record has a version")
    }

    pub fn is(&self, event: &str) -> bool {
        self.event.as_deref() == Some(event)
    }
}

impl EventStream {
    #[track_caller]
    pub fn open(address: SocketAddr, target: &str, headers: &[&str]) -> Self {
        Self::open_on(Connection::open(address), target, headers)
    }

    #[track_caller]
    pub fn open_on(mut connection: Connection, target: &str, headers: &[&str]) -> Self {
        let mut headers = headers.to_vec();
        headers.push("Accept: text/event-stream");
        connection.send(request("GET", target, &headers, b""));
        Self::after_request(connection)
    }

    /// Reads the answer to a request that was sent before.
    #[track_caller]
    pub fn after_request(mut connection: Connection) -> Self {
        let (status, headers) = connection.head().expect("the stream is answered");
        assert_eq!(status, 200, "{headers:?}");
        assert_eq!(headers.find("content-type"), Some("text/event-stream"));
        assert_eq!(headers.find("transfer-encoding"), Some("chunked"));
        Self { connection, headers, buffer: Vec::new(), lines: VecDeque::new(), ended: false }
    }

    /// Sends unexpected bytes to the server.
    pub fn send(&mut self, bytes: &[u8]) {
        self.connection.send(bytes);
    }

    /// The next line without its LF, or `None` at the end.
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.ended {
                assert!(self.buffer.is_empty(), "the last line is complete");
                return None;
            }
            match self.connection.chunk() {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                _ => self.ended = true,
            }
            while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).take(end).collect();
                let line = String::from_utf8(line).expect("streams are UTF-8");
                assert!(!line.contains('\r'), "CR ends a line too: {line:?}");
                self.lines.push_back(line);
            }
        }
    }

    /// The next item. A block is `id`, `event`, `data` and optionally `retry`, in this order,
    /// without a space after the colon. No block is without data.
    pub fn item(&mut self) -> StreamItem {
        let Some(first) = self.line() else { return StreamItem::End };
        if first == ":" {
            return StreamItem::Heartbeat;
        }
        if let Some(retry) = first.strip_prefix("retry:") {
            assert_eq!(self.line(), None, "nothing follows the last retry line");
            return StreamItem::Retry(retry.parse().expect("milliseconds"));
        }
        let mut raw = format!("{first}\n");
        let id = first.strip_prefix("id:").unwrap_or_else(|| panic!("no id: {first:?}"));
        let mut line = self.next_line(&mut raw);
        let event = line.strip_prefix("event:").map(str::to_owned);
        if event.is_some() {
            line = self.next_line(&mut raw);
        }
        let data = line.strip_prefix("data:").unwrap_or_else(|| panic!("no data: {line:?}"));
        assert!(data.starts_with(['{']), "no space after the colon: {line:?}");
        let mut end = self.next_line(&mut raw);
        let retry = end.strip_prefix("retry:").map(|millis| millis.parse().expect("milliseconds"));
        if retry.is_some() {
            end = self.next_line(&mut raw);
        }
        assert_eq!(end, "", "a block ends with an empty line: {raw:?}");
        StreamItem::Block(Block { id: id.to_owned(), event, data: data.to_owned(), retry, raw })
    }

    fn next_line(&mut self, raw: &mut String) -> String {
        let line = self.line().expect("a complete block");
        raw.push_str(&line);
        raw.push('\n');
        line
    }

    /// The next block, skipping heartbeats.
    #[track_caller]
    pub fn block(&mut self) -> Block {
        loop {
            match self.item() {
                StreamItem::Block(block) => return block,
                StreamItem::Heartbeat => {}
                end => panic!("expected a block: {end:?}"),
            }
        }
    }

    /// Blocks up to and including the first `broker:synced`.
    #[track_caller]
    pub fn until_synced(&mut self) -> Vec<Block> {
        self.until(|block| block.is("broker:synced"))
    }

    /// Blocks up to and including the first for which `last` holds.
    #[track_caller]
    pub fn until(&mut self, last: impl Fn(&Block) -> bool) -> Vec<Block> {
        let mut blocks = Vec::new();
        loop {
            blocks.push(self.block());
            if blocks.last().is_some_and(&last) {
                return blocks;
            }
        }
    }
}

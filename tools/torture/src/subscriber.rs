//! A subscriber that follows the stream under faults and reconnects with its cursor.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use broker_tools::{Result, ensure};
use serde::Deserialize;

use crate::http::{ANSWER_MAX, Client, Connection};
use crate::log::{Log, record_of};

/// A subscriber and what it has received.
#[derive(Clone, Default)]
pub struct Subscriber {
    /// The cursor of the last block.
    pub cursor: Option<String>,
    /// The latest record of each event, by name.
    values: BTreeMap<String, Delivery>,
    /// Everything received since the last reset; none of it may disappear.
    seen: Vec<Delivery>,
    /// The number of resets.
    pub resets: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Delivery {
    seq: u64,
    version: u64,
    record: String,
}

#[derive(Deserialize)]
struct Head {
    seq: u64,
    version: u64,
    event: String,
}

/// Why following ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Asked,
    Connection,
    Synced,
}

impl Subscriber {
    /// The seq in the cursor.
    pub fn seq(&self) -> u64 {
        let seq = self.cursor.as_ref().and_then(|cursor| cursor.split('-').nth(1)?.parse().ok());
        seq.unwrap_or(0)
    }

    /// Follows a server until it is gone or `stop` is set.
    pub fn watch(&mut self, client: Client, stop: &AtomicBool) -> Result {
        let Ok(mut connection) = self.connect(client) else { return Ok(()) };
        connection.set_read_timeout(Duration::from_millis(50))?;
        self.follow(&mut connection, stop, false, &mut Vec::new()).map(drop)
    }

    /// Reconnects to an idle server, and must receive exactly the latest records after its cursor,
    /// without a reset.
    pub fn catch_up(&mut self, client: Client, log: &Log) -> Result {
        let resets = self.resets;
        let (before, received) = (self.seq(), self.reconnect(client)?);
        ensure!(self.resets == resets, "a valid cursor was reset, at seq {before}");
        let expected: Vec<_> = log.latest_after(before).into_iter().map(record_of).collect();
        let received: Vec<_> = received.iter().map(Delivery::in_log).collect();
        ensure!(
            received == expected,
            "after seq {before}: received {received:?} instead of {expected:?}"
        );
        self.compare(log)
    }

    /// Reconnects to a server with another history, and must be reset.
    pub fn expect_reset(&mut self, client: Client, log: &Log) -> Result {
        let (resets, cursor) = (self.resets, self.cursor.clone());
        self.reconnect(client)?;
        ensure!(self.resets == resets + 1, "the cursor {cursor:?} of another history was accepted");
        self.compare(log)
    }

    /// Checks that it holds the latest records of the log, and that nothing it received is gone.
    fn compare(&self, log: &Log) -> Result {
        let latest: Vec<_> = log.latest_after(0).into_iter().map(record_of).collect();
        let mut held: Vec<_> = self.values.values().collect();
        held.sort_by_key(|delivery| delivery.seq);
        let held: Vec<_> = held.into_iter().map(Delivery::in_log).collect();
        ensure!(held == latest, "a subscriber holds {held:?} instead of {latest:?}");
        for delivery in &self.seen {
            let line = log.lines.get(delivery.seq as usize - 1).map(|line| record_of(line));
            let same = line == Some(delivery.in_log());
            ensure!(same, "received and gone: {}; the log has {line:?}", delivery.record);
        }
        Ok(())
    }

    /// Receives everything up to `synced`.
    fn reconnect(&mut self, client: Client) -> Result<Vec<Delivery>> {
        let mut connection = self.connect(client)?;
        let (stop, mut received) = (AtomicBool::new(false), Vec::new());
        let end = self.follow(&mut connection, &stop, true, &mut received)?;
        ensure!(end == End::Synced, "a stream ended before `synced`");
        Ok(received)
    }

    fn connect(&self, client: Client) -> io::Result<Connection> {
        let mut connection = Connection::open(client.0)?;
        let cursor = self.cursor.as_ref().map(|cursor| format!("Last-Event-ID: {cursor}\r\n"));
        connection.send("GET", "/events", &cursor.unwrap_or_default(), "")?;
        match connection.head()? {
            (200, ..) => Ok(connection),
            (status, ..) => Err(io::Error::other(format!("GET /events: {status}"))),
        }
    }

    fn follow(
        &mut self,
        connection: &mut Connection,
        stop: &AtomicBool,
        until_synced: bool,
        received: &mut Vec<Delivery>,
    ) -> Result<End> {
        let mut reader = Reader { connection, stop, pending: Vec::new() };
        let mut last = 0;
        loop {
            let Some((id, event, data)) = reader.block()? else {
                return Ok(if stop.load(Ordering::Relaxed) { End::Asked } else { End::Connection });
            };
            match event.as_str() {
                "broker:reset" => {
                    self.resets += 1;
                    self.values.clear();
                    self.seen.clear();
                    received.clear();
                }
                "broker:synced" if until_synced => {
                    self.cursor = Some(id);
                    return Ok(End::Synced);
                }
                "broker:synced" => {}
                _ => {
                    let delivery = self.take(&event, data)?;
                    ensure!(
                        delivery.seq > last,
                        "seqs go back on a stream, after {last}: {delivery:?}"
                    );
                    last = delivery.seq;
                    received.push(delivery);
                }
            }
            self.cursor = Some(id);
        }
    }

    fn take(&mut self, event: &str, record: String) -> Result<Delivery> {
        let head: Head = serde_json::from_str(&record)?;
        ensure!(head.event == event, "a block of {event}: {record}");
        let delivery = Delivery { seq: head.seq, version: head.version, record };
        if let Some(before) = self.values.insert(head.event, delivery.clone()) {
            let forwards = delivery.version > before.version && delivery.seq > before.seq;
            ensure!(forwards, "a stream goes backwards: {before:?}, then {delivery:?}");
        }
        self.seen.push(delivery.clone());
        Ok(delivery)
    }
}

impl Delivery {
    /// The record as [`record_of`] finds it in the log: without its closing brace.
    fn in_log(&self) -> &str {
        &self.record[..self.record.len() - 1]
    }
}

/// Reads lines of a chunked stream, which may be silent for long.
struct Reader<'a> {
    connection: &'a mut Connection,
    stop: &'a AtomicBool,
    pending: Vec<u8>,
}

impl Reader<'_> {
    /// The next block: id, event and data. `None` at the end of the stream, regular or not.
    fn block(&mut self) -> Result<Option<(String, String, String)>> {
        let (mut id, mut event, mut data) = (String::new(), String::new(), None);
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            match line.split_once(':') {
                Some(("id", value)) => value.clone_into(&mut id),
                Some(("event", value)) => value.clone_into(&mut event),
                Some(("data", value)) => data = Some(value.to_owned()),
                None if line.is_empty() => {
                    let data = data.ok_or("a block without data")?;
                    return Ok(Some((id, event, data)));
                }
                // The heartbeat, and `retry`.
                _ => {}
            }
        }
    }

    fn line(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let rest = self.pending.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.pending, rest);
                line.pop();
                return Ok(Some(String::from_utf8(line)?));
            }
            match self.chunk()? {
                Some(chunk) => self.pending.extend(chunk),
                None => return Ok(None),
            }
        }
    }

    fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let started = Instant::now();
        loop {
            match self.connection.stream_chunk() {
                Ok(part) => return Ok(part),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if self.stop.load(Ordering::Relaxed) {
                        return Ok(None);
                    }
                    // Silence alone is not a fault: heartbeats come every 15 s.
                    let silent = started.elapsed() > ANSWER_MAX * 2;
                    ensure!(!silent, "a stream sends nothing, not even a heartbeat");
                }
                Err(_) => return Ok(None),
            }
        }
    }
}

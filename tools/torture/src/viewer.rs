//! A page that is open while things go wrong, and comes back with the cursor that it has.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::http::{ANSWER_MAX, Client, Connection};
use crate::log::{Log, record_of};
use crate::{Result, ensure};

/// What a page holds.
#[derive(Clone, Default)]
pub struct Viewer {
    /// Where it stands.
    pub cursor: Option<String>,
    /// Newest record of each event, by name.
    values: BTreeMap<String, Told>,
    /// Everything it ever saw and that no reset took back: none of it may disappear.
    seen: Vec<Told>,
    /// Resets so far.
    pub resets: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
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

impl Viewer {
    /// Seq of the cursor.
    pub fn seq(&self) -> u64 {
        let seq = self.cursor.as_ref().and_then(|cursor| cursor.split('-').nth(1)?.parse().ok());
        seq.unwrap_or(0)
    }

    /// Follows a server until it is gone or `stop` is set.
    pub fn watch(&mut self, client: Client, stop: &AtomicBool) -> Result {
        let Ok(mut connection) = self.connect(client) else { return Ok(()) };
        connection.set_patience(Duration::from_millis(50))?;
        self.follow(&mut connection, stop, false, &mut Vec::new()).map(drop)
    }

    /// Comes back to a server where nothing happens, and must be brought to exactly what the log
    /// says, without a reset and without a word too many.
    pub fn catch_up(&mut self, client: Client, log: &Log) -> Result {
        let resets = self.resets;
        let (before, came) = (self.seq(), self.come_back(client)?);
        ensure!(self.resets == resets, "a good cursor was reset, at seq {before}");
        let expected: Vec<_> = log.newest_after(before).into_iter().map(record_of).collect();
        let came: Vec<_> = came.iter().map(|told| &told.record[..told.record.len() - 1]).collect();
        ensure!(came == expected, "after seq {before} came {came:?} instead of {expected:?}");
        self.compare(log)
    }

    /// Comes back to a server that cannot know the cursor, and must be reset.
    pub fn must_be_reset(&mut self, client: Client, log: &Log) -> Result {
        let (resets, cursor) = (self.resets, self.cursor.clone());
        self.come_back(client)?;
        ensure!(self.resets == resets + 1, "the cursor {cursor:?} of another history was taken");
        self.compare(log)
    }

    /// What it holds is what the log says, and nothing that it saw is gone.
    fn compare(&self, log: &Log) -> Result {
        let newest: Vec<_> = log.newest_after(0).into_iter().map(record_of).collect();
        let mut held: Vec<_> = self.values.values().collect();
        held.sort_by_key(|told| told.seq);
        let held: Vec<_> = held.iter().map(|told| &told.record[..told.record.len() - 1]).collect();
        ensure!(held == newest, "a page ends on {held:?} instead of {newest:?}");
        for told in &self.seen {
            let line = log.lines.get(told.seq as usize - 1).map(|line| record_of(line));
            let same = line == Some(&told.record[..told.record.len() - 1]);
            ensure!(same, "shown and gone: {}; there is {line:?}", told.record);
        }
        Ok(())
    }

    /// Everything up to `synced`.
    fn come_back(&mut self, client: Client) -> Result<Vec<Told>> {
        let mut connection = self.connect(client)?;
        let (stop, mut came) = (AtomicBool::new(false), Vec::new());
        let end = self.follow(&mut connection, &stop, true, &mut came)?;
        ensure!(end == End::Synced, "a stream ended before it was synced");
        Ok(came)
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
        came: &mut Vec<Told>,
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
                    came.clear();
                }
                "broker:synced" if until_synced => {
                    self.cursor = Some(id);
                    return Ok(End::Synced);
                }
                "broker:synced" => {}
                _ => {
                    let told = self.take(&event, data)?;
                    ensure!(told.seq > last, "seqs fall on a stream, after {last}: {told:?}");
                    last = told.seq;
                    came.push(told);
                }
            }
            self.cursor = Some(id);
        }
    }

    fn take(&mut self, event: &str, record: String) -> Result<Told> {
        let head: Head = serde_json::from_str(&record)?;
        ensure!(head.event == event, "a block of {event}: {record}");
        let told = Told { seq: head.seq, version: head.version, record };
        if let Some(before) = self.values.insert(head.event, told.clone()) {
            let forwards = told.version > before.version && told.seq > before.seq;
            ensure!(forwards, "a page goes backwards: {before:?}, then {told:?}");
        }
        self.seen.push(told.clone());
        Ok(told)
    }
}

/// Lines of a chunked stream, which may stay away for long.
struct Reader<'a> {
    connection: &'a mut Connection,
    stop: &'a AtomicBool,
    pending: Vec<u8>,
}

impl Reader<'_> {
    /// The next block: id, event and data. `None` at the end, however it came.
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
            match self.connection.part() {
                Ok(part) => return Ok(part),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if self.stop.load(Ordering::Relaxed) {
                        return Ok(None);
                    }
                    // Silence is no fault by itself: heartbeats come every 15 s.
                    let silent = started.elapsed() > ANSWER_MAX * 2;
                    ensure!(!silent, "a stream says nothing, not even a heartbeat");
                }
                Err(_) => return Ok(None),
            }
        }
    }
}

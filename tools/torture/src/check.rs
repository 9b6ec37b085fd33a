//! The rules, checked against a server. An acknowledged event is present once and never changes. An
//! event with an unknown outcome is present at most once, and a retry gets the original receipt. A
//! refused event is not present. All ways of reading agree.

use std::thread;
use std::time::{Duration, Instant};

use broker_tools::{Result, ensure};
use rand::Rng as _;
use rand::rngs::StdRng;
use serde::Deserialize;

use crate::http::Client;
use crate::ledger::{Ledger, Outcome, Receipt, Request};
use crate::log::{Log, receipt_of, record_of};
use crate::subscriber::Subscriber;

/// Without a fault, the projection catches up with the log within this time.
const READY_MAX: Duration = Duration::from_secs(30);
/// Acknowledged requests that each check sends again.
const RETRIES: usize = 5;
/// Subscribers that reconnect with their cursor, including the one that follows the load.
const SUBSCRIBERS: usize = 4;

impl Ledger {
    /// Checks everything, on a server that is idle.
    pub fn check(&mut self, client: Client, random: &mut StdRng) -> Result {
        ready(client)?;
        self.checks.logs += usize::from(!self.lines.is_empty());
        let mut log = self.read_log(client)?;
        self.compare(&log)?;
        if self.settle(client, &log)? {
            log = self.read_log(client)?;
            self.compare(&log)?;
        }
        self.retry_some(client, random)?;
        self.check_private(&log)?;
        check_reads(client, &log)?;
        self.check_subscribers(client, &log, random)
    }

    /// Checks a server while a fault lasts: each read is either right or explicitly refused, in
    /// time.
    pub fn check_under_fault(&mut self, client: Client) -> Result {
        let answer = match client.get("/log") {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) if answer.is_refusal() => return Ok(()),
            Ok(answer) => return Err(format!("unexpected answer of /log: {answer:?}").into()),
            Err(error) => return ensure_not_silent(&error, "/log"),
        };
        let log = Log::of(answer.body.lines().map(str::to_owned).collect(), &self.lines)?;
        self.compare(&log)?;
        for event in log.public() {
            let target = format!("/audit/{}", encoded(event));
            match client.get(&target) {
                // Each refusal takes five seconds, and one is enough.
                Ok(answer) if answer.is_refusal() => break,
                Ok(answer) => {
                    let expected = lines_of(&log, event);
                    let right = answer.status == 200 && answer.body.lines().eq(expected);
                    ensure!(right, "{target} differs from the log: {answer:?}");
                }
                Err(error) => ensure_not_silent(&error, &target)?,
            }
        }
        match client.get("/latest") {
            Ok(answer) if answer.is_refusal() => Ok(()),
            Ok(answer) => check_latest(&answer.body, &log),
            Err(error) => ensure_not_silent(&error, "/latest"),
        }
    }

    /// Reads the whole log, which may only have grown.
    pub fn read_log(&mut self, client: Client) -> Result<Log> {
        let log = Log::of(client.lines("/log")?, &self.lines)?;
        for (at, before) in self.lines.iter().enumerate() {
            let now = log.lines.get(at).map(String::as_str);
            ensure!(now == Some(before), "read before and gone: {before}; now {now:?}");
        }
        log.lines.clone_into(&mut self.lines);
        Ok(log)
    }

    /// Compares every request with the log.
    pub fn compare(&self, log: &Log) -> Result {
        self.requests.iter().try_for_each(|request| compare(request, log).map(drop))
    }

    /// Resolves unknown outcomes. After a restart nothing is in flight: an unknown request is in
    /// the log or never will be, and a retry finds out without storing it twice.
    ///
    /// Returns whether anything was sent, which may have stored something.
    fn settle(&mut self, client: Client, log: &Log) -> Result<bool> {
        let mut sent = false;
        for request in &mut self.requests {
            if request.outcome != Outcome::Unknown {
                continue;
            }
            let stored = compare(request, log)?;
            if !request.is_safe_to_retry() {
                request.outcome = match &stored {
                    Some(receipts) => Outcome::Acknowledged(receipts.clone()),
                    None => Outcome::Refused("never stored".to_owned()),
                };
                continue;
            }
            sent = true;
            let answer = client.insert(&request.body())?;
            let mismatch = answer.status == 409 && answer.code() == "version-mismatch";
            let is_public = request.inserts.iter().any(|insert| insert.to.is_none());
            let right = match (answer.status, &stored) {
                (200, Some(_)) | (201, None) => true,
                // Only this answer tells whether a private record was stored.
                (200, None) => !is_public,
                _ => stored.is_none() && mismatch,
            };
            ensure!(right, "a retry got {answer:?}, stored: {stored:?}: {request:?}");
            request.record_answer(&answer)?;
        }
        Ok(sent)
    }

    fn retry_some(&self, client: Client, random: &mut StdRng) -> Result {
        if self.requests.is_empty() {
            return Ok(());
        }
        for _ in 0..RETRIES {
            let request = &self.requests[random.random_range(0..self.requests.len())];
            if !matches!(request.outcome, Outcome::Acknowledged(_)) || !request.is_safe_to_retry() {
                continue;
            }
            let (mut again, answer) = (request.clone(), client.insert(&request.body())?);
            again.record_answer(&answer)?;
            let same = answer.status == 200 && again.outcome == request.outcome;
            ensure!(same, "a retry got {answer:?}: {request:?}");
        }
        Ok(())
    }

    /// Checks private records: each seq in the log has one owner, and versions are 1 to n.
    fn check_private(&self, log: &Log) -> Result {
        let (mut seqs, mut versions) = (Vec::new(), Vec::new());
        for request in &self.requests {
            let Outcome::Acknowledged(receipts) = &request.outcome else { continue };
            for (insert, receipt) in request.inserts.iter().zip(receipts) {
                if let Some(to) = &insert.to {
                    let Receipt { seq, version } = Receipt::of(receipt)?;
                    seqs.push(seq);
                    versions.push((insert.event.clone(), to.clone(), version));
                }
            }
        }
        seqs.sort_unstable();
        ensure!(
            seqs == log.private,
            "seqs of private records: {seqs:?} acknowledged, {:?} in the log",
            log.private
        );
        versions.sort();
        for (i, (event, to, version)) in versions.iter().enumerate() {
            let before = versions[..i].iter().filter(|other| (&other.0, &other.1) == (event, to));
            let expected = before.count() as u64 + 1;
            ensure!(*version == expected, "{event} of {to}: version {version}, not {expected}");
        }
        Ok(())
    }

    fn check_subscribers(&mut self, client: Client, log: &Log, random: &mut StdRng) -> Result {
        if self.subscribers.len() < SUBSCRIBERS {
            self.subscribers.push(Subscriber::default());
        }
        for (i, subscriber) in self.subscribers.iter_mut().enumerate() {
            if i == 0 || random.random_bool(0.4) {
                let comes_back = subscriber.cursor.is_some();
                subscriber.catch_up(client, log)?;
                self.checks.reconnects += usize::from(comes_back);
            }
        }
        Ok(())
    }
}

/// The receipts of a request according to the log, or `None` when it is not there. Half of a batch,
/// other bytes, or a contradiction to its outcome is an error.
fn compare(request: &Request, log: &Log) -> Result<Option<Vec<String>>> {
    let receipts = match &request.outcome {
        Outcome::Acknowledged(receipts) => Some(receipts),
        Outcome::Refused(_) | Outcome::Unknown => None,
    };
    let public = request.inserts.iter().enumerate().filter(|(_, insert)| insert.to.is_none());
    let (mut found, mut missing) = (Vec::new(), 0);
    for (i, insert) in public {
        let Some(line) = log.by_tag.get(&insert.tag).map(|at| &log.lines[*at]) else {
            missing += 1;
            continue;
        };
        let data = format!(",\"data\":{},\"hash\":\"", insert.data);
        let name = format!(",\"event\":\"{}\",", insert.event);
        let id = insert.id.as_ref().is_none_or(|id| line.contains(&format!(",\"id\":\"{id}\",")));
        ensure!(
            line.contains(&data) && line.contains(&name) && id,
            "not as sent: {insert:?}: {line}"
        );
        let receipt = format!("{}}}", receipt_of(line));
        let acknowledged = receipts.map(|receipts| &receipts[i]);
        ensure!(
            acknowledged.is_none_or(|acknowledged| *acknowledged == receipt),
            "acknowledged as {acknowledged:?}: {line}"
        );
        found.push(receipt);
    }
    match &request.outcome {
        Outcome::Acknowledged(receipts) => {
            ensure!(missing == 0, "acknowledged and lost: {request:?}");
            for (insert, receipt) in request.inserts.iter().zip(receipts) {
                let seq = Receipt::of(receipt)?.seq;
                let there = insert.to.is_none() || log.private.binary_search(&seq).is_ok();
                ensure!(there, "acknowledged and lost: {insert:?} {receipt}");
            }
        }
        Outcome::Refused(code) => {
            ensure!(found.is_empty(), "refused with {code} but stored: {request:?}");
        }
        Outcome::Unknown => {
            ensure!(found.is_empty() || missing == 0, "half of a batch is stored: {request:?}");
        }
    }
    Ok((!found.is_empty()).then_some(found))
}

/// Waits until the projection has caught up and old ids can be looked up.
pub fn ready(client: Client) -> Result {
    let deadline = Instant::now() + READY_MAX;
    loop {
        let health = client.health()?;
        let projection = &health["projection"];
        if projection["lag"] == 0
            && projection["state"] == "ready"
            && projection["ids_readable"] == true
        {
            ensure!(health["status"] == "ok", "{health}");
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "the projection has not caught up after {READY_MAX:?}: {health}"
        );
        thread::park_timeout(Duration::from_millis(2));
    }
}

#[derive(Deserialize)]
struct HistoryEntry {
    event: String,
    version: u64,
    count: u64,
}

/// Checks that `/audit` and `/latest` agree with the log.
fn check_reads(client: Client, log: &Log) -> Result {
    let answer = client.get("/audit")?;
    let listed: Vec<HistoryEntry> = serde_json::from_str(&answer.body)?;
    let public = log.public().map(|event| (event, log.by_event[event].len() as u64));
    let same = listed.iter().map(|event| (event.event.as_str(), event.version)).eq(public);
    let counted = listed.iter().all(|event| event.version == event.count);
    ensure!(same && counted, "/audit differs from the log: {}", answer.body);
    for event in log.public() {
        let target = format!("/audit/{}", encoded(event));
        let lines = client.lines(&target)?;
        ensure!(lines.iter().eq(lines_of(log, event)), "{target} differs from the log");
    }
    check_latest(&client.get("/latest")?.body, log)
}

#[derive(Deserialize)]
struct Latest<'a> {
    #[serde(borrow)]
    records: Vec<&'a serde_json::value::RawValue>,
}

fn check_latest(body: &str, log: &Log) -> Result {
    let latest: Latest<'_> = serde_json::from_str(body)?;
    let records = latest.records.iter().map(|record| &record.get()[..record.get().len() - 1]);
    let same = records.eq(log.latest_after(0).into_iter().map(record_of));
    ensure!(same, "/latest differs from the log: {body}");
    Ok(())
}

fn lines_of<'a>(log: &'a Log, event: &str) -> impl Iterator<Item = &'a String> {
    log.by_event[event].iter().map(|at| &log.lines[*at])
}

/// A closed connection is an explicit error; silence is a broken rule.
fn ensure_not_silent(error: &std::io::Error, target: &str) -> Result {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    let silent = matches!(error.kind(), TimedOut | WouldBlock);
    ensure!(!silent, "{target}: neither an answer nor a closed connection");
    Ok(())
}

fn encoded(event: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'.' | b':' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    event.bytes().map(encode).collect()
}

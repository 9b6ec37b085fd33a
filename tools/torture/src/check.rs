//! The rules, held against a server: what was acknowledged is there, once, the same, for ever; what
//! is unknown is there at most once and its retry gets the original receipt; what was refused is
//! not there; and every way of reading says the same.

use std::thread;
use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::rngs::StdRng;
use serde::Deserialize;

use crate::http::Client;
use crate::ledger::{Ledger, Outcome, Receipt, Request};
use crate::log::{Log, receipt_of, record_of};
use crate::subscriber::Subscriber;
use crate::{Result, ensure};

/// The history is built from the log within this time where nothing is wrong.
const READY_MAX: Duration = Duration::from_secs(30);
/// Acknowledged requests that each check sends again.
const RETRIES: usize = 5;
/// Pages that come back, beside the one that always watches.
const SUBSCRIBERS: usize = 4;

impl Ledger {
    /// Everything, on a server to which nothing happens now.
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

    /// While a fault lasts: each read is right, or refused explicitly, in time.
    pub fn check_under_fault(&mut self, client: Client) -> Result {
        let answer = match client.get("/log") {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) if answer.is_refusal() => return Ok(()),
            Ok(answer) => return Err(format!("/log is answered {answer:?}").into()),
            Err(error) => return ensure_not_silent(&error, "/log"),
        };
        let log = Log::of(answer.body.lines().map(str::to_owned).collect(), &self.lines)?;
        self.compare(&log)?;
        for event in log.public() {
            let target = format!("/audit/{}", encoded(event));
            match client.get(&target) {
                // Each such answer takes five seconds, and one says it for all.
                Ok(answer) if answer.is_refusal() => break,
                Ok(answer) => {
                    let expected = lines_of(&log, event);
                    let right = answer.status == 200 && answer.body.lines().eq(expected);
                    ensure!(right, "{target} is not what the log says: {answer:?}");
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

    /// Reads the log from its first record: it may only have grown.
    pub fn read_log(&mut self, client: Client) -> Result<Log> {
        let log = Log::of(client.lines("/log")?, &self.lines)?;
        for (at, before) in self.lines.iter().enumerate() {
            let now = log.lines.get(at).map(String::as_str);
            ensure!(now == Some(before), "seen before and gone: {before}; there is {now:?}");
        }
        log.lines.clone_into(&mut self.lines);
        Ok(log)
    }

    /// Every request against the log.
    pub fn compare(&self, log: &Log) -> Result {
        self.requests.iter().try_for_each(|request| compare(request, log).map(drop))
    }

    /// After a restart nothing is under way: what is unknown is in the log or will never be, and a
    /// retry finds out without storing it twice.
    /// Whether it may have stored something.
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
                // Whether a private one was stored, only this answer tells.
                (200, None) => !is_public,
                _ => stored.is_none() && mismatch,
            };
            ensure!(right, "a retry is answered {answer:?}, stored: {stored:?}: {request:?}");
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
            ensure!(same, "a retry is answered {answer:?}: {request:?}");
        }
        Ok(())
    }

    /// Private records: each seq in the log has one owner, and versions are 1 to n.
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
        ensure!(seqs == log.private, "private records: {seqs:?} known, {:?} there", log.private);
        versions.sort();
        for (i, (event, to, version)) in versions.iter().enumerate() {
            let before = versions[..i].iter().filter(|other| (&other.0, &other.1) == (event, to));
            let expected = before.count() as u64 + 1;
            ensure!(*version == expected, "{event} of {to}: {version} should be {expected}");
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
                self.checks.pages += usize::from(comes_back);
            }
        }
        Ok(())
    }
}

/// Where a request stands in the log, as receipts; `None` when it is not there. Half of it, other
/// bytes, or the wrong one of the two, is an error.
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
        let told = receipts.map(|receipts| &receipts[i]);
        ensure!(told.is_none_or(|told| *told == receipt), "acknowledged as {told:?}: {line}");
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
            ensure!(found.is_empty(), "refused with {code} and stored: {request:?}");
        }
        Outcome::Unknown => {
            ensure!(found.is_empty() || missing == 0, "half of a batch: {request:?}");
        }
    }
    Ok((!found.is_empty()).then_some(found))
}

/// Waits until the history is at the head and old ids can be looked up.
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
            "the history is not there after {READY_MAX:?}: {health}"
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

/// `/audit` and `/latest` say what the log says.
fn check_reads(client: Client, log: &Log) -> Result {
    let answer = client.get("/audit")?;
    let listed: Vec<HistoryEntry> = serde_json::from_str(&answer.body)?;
    let public = log.public().map(|event| (event, log.by_event[event].len() as u64));
    let same = listed.iter().map(|event| (event.event.as_str(), event.version)).eq(public);
    let counted = listed.iter().all(|event| event.version == event.count);
    ensure!(same && counted, "/audit is not what the log says: {}", answer.body);
    for event in log.public() {
        let target = format!("/audit/{}", encoded(event));
        let lines = client.lines(&target)?;
        ensure!(lines.iter().eq(lines_of(log, event)), "{target} is not what the log says");
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
    ensure!(same, "/latest is not what the log says: {body}");
    Ok(())
}

fn lines_of<'a>(log: &'a Log, event: &str) -> impl Iterator<Item = &'a String> {
    log.by_event[event].iter().map(|at| &log.lines[*at])
}

/// A connection that ended is an explicit error; one that stays silent is none.
fn ensure_not_silent(error: &std::io::Error, target: &str) -> Result {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    let silent = matches!(error.kind(), TimedOut | WouldBlock);
    ensure!(!silent, "{target} gets neither an answer nor an end");
    Ok(())
}

fn encoded(event: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'.' | b':' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    event.bytes().map(encode).collect()
}

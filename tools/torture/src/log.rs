//! Reads the log as a client does and checks each line without any of the server's code: seqs,
//! versions, times, and the hash according to PROTOCOL.md, section 4.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use broker_tools::{Result, ensure};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// A complete log.
#[derive(Default)]
pub struct Log {
    /// The lines; each seq is the index plus one.
    pub lines: Vec<String>,
    /// The index of the insert with a tag.
    pub by_tag: HashMap<String, usize>,
    /// The lines of each public event, by version.
    pub by_event: BTreeMap<String, Vec<usize>>,
    /// Seqs of records that only their user sees.
    pub private: Vec<u64>,
    latest_time: String,
}

/// The members of a line that are needed here.
#[derive(Deserialize)]
struct Line<'a> {
    seq: u64,
    event: Option<String>,
    version: Option<u64>,
    id: Option<&'a str>,
    timestamp: Option<&'a str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    hash: &'a str,
    salts: Option<[&'a str; 2]>,
}

#[derive(Deserialize)]
struct Tagged {
    t: Option<String>,
}

impl Log {
    /// Checks and takes lines. Hashes of lines that equal `known` were checked before.
    pub fn of(lines: Vec<String>, known: &[String]) -> Result<Self> {
        let mut log = Self::default();
        for line in lines {
            let is_known = known.get(log.lines.len()) == Some(&line);
            log.push(line, is_known)?;
        }
        Ok(log)
    }

    fn push(&mut self, raw: String, is_known: bool) -> Result {
        let line: Line<'_> =
            serde_json::from_str(&raw).map_err(|error| format!("/log: {error}: {raw}"))?;
        let at = self.lines.len();
        ensure!(line.seq == at as u64 + 1, "/log: seq {} on line {}", line.seq, at + 1);
        let Some(event) = line.event.clone() else {
            self.private.push(line.seq);
            self.lines.push(raw);
            return Ok(());
        };
        let right = is_known || line.expected_hash().as_deref() == Some(line.hash);
        ensure!(right, "/log: wrong hash: {raw}");
        let time = line.timestamp.unwrap_or_default().to_owned();
        let falls = (time.len(), &time) < (self.latest_time.len(), &self.latest_time);
        ensure!(!falls, "/log: times go back after {}: {raw}", self.latest_time);
        self.latest_time = time;
        let versions = self.by_event.entry(event).or_default();
        versions.push(at);
        let version = Some(versions.len() as u64);
        ensure!(line.version == version, "/log: not version {version:?}: {raw}");
        let data = line.data.map(RawValue::get).unwrap_or_default();
        if let Ok(Tagged { t: Some(tag) }) = serde_json::from_str(data) {
            let twice = self.by_tag.insert(tag, at);
            ensure!(twice.is_none(), "/log: an insert is present twice: {raw}");
        }
        self.lines.push(raw);
        Ok(())
    }

    /// Names of events that are not system events.
    pub fn public(&self) -> impl Iterator<Item = &str> {
        self.by_event.keys().map(String::as_str).filter(|event| !event.starts_with("broker:"))
    }

    /// The lines of the latest public records after a seq, in log order.
    pub fn latest_after(&self, seq: u64) -> Vec<&str> {
        let latest = self.public().filter_map(|event| self.by_event[event].last().copied());
        let mut latest: Vec<usize> = latest.collect();
        latest.retain(|at| *at as u64 + 1 > seq);
        latest.sort_unstable();
        latest.into_iter().map(|at| self.lines[at].as_str()).collect()
    }
}

/// The record as a stream sends it, without its closing brace, from its line in the log.
pub fn record_of(line: &str) -> &str {
    line.rfind(",\"hash\":\"").map_or(line, |end| &line[..end])
}

/// The receipt without its closing brace, from its line in the log.
pub fn receipt_of(line: &str) -> &str {
    line.find(",\"data\":").map_or(line, |end| &line[..end])
}

impl Line<'_> {
    /// The hash of PROTOCOL.md, section 4; there are no authors in open mode.
    fn expected_hash(&self) -> Option<String> {
        let [salt1, salt2] = self.salts?;
        let event = self.event.as_ref()?;
        let mut meta = vec![u8::try_from(event.len()).ok()?];
        meta.extend(event.as_bytes());
        meta.extend(self.version?.to_be_bytes());
        meta.extend(bytes(&self.id?.replace('-', ""))?);
        meta.extend([0, 0]);
        let commitment = |salt: &str, part: &[u8]| -> Option<Vec<u8>> {
            let mut salted = bytes(salt)?;
            salted.extend(part);
            Some(Sha256::digest(&salted).to_vec())
        };
        let mut leaf = vec![0, 0, 0, 0, 0];
        leaf.extend(self.seq.to_be_bytes());
        leaf.extend(millis(self.timestamp?)?.to_be_bytes());
        leaf.extend(commitment(salt1, &meta)?);
        leaf.extend(commitment(salt2, self.data?.get().as_bytes())?);
        Some(Sha256::digest(&leaf).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }))
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let calls_and_scopes = (0..hex.len()).step_by(2);
    calls_and_scopes.map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

/// Milliseconds since 1970 from `…-MM-DDThh:mm:ss.mmmZ`.
fn millis(timestamp: &str) -> Option<u64> {
    let (date, time) = timestamp.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.trim_start_matches('+').splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    // `days_from_civil` by Howard Hinnant.
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let mut time = time.split([':', '.']).map(str::parse::<i64>);
    let mut next = || time.next()?.ok();
    let (hours, minutes, seconds, millis) = (next()?, next()?, next()?, next()?);
    let seconds = ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
    u64::try_from(seconds * 1000 + millis).ok()
}

//! The ledger: what was sent and how it was answered. The log must agree with it.

use broker_tools::{Result, ensure};
use rand::Rng as _;
use rand::rngs::StdRng;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::Answer;
use crate::subscriber::Subscriber;

/// One insert in this many is large.
const LARGE_ONE_IN: u32 = 30;
const LARGE_ONE_IN_HEAVY: u32 = 3;

/// The ledger of one data directory.
#[derive(Clone, Default)]
pub struct Ledger {
    /// Every request that was sent, in no particular order.
    pub requests: Vec<Request>,
    /// The log as it was last read. It may only grow.
    pub lines: Vec<String>,
    /// Whether a third of the inserts is large, so that groups are too.
    pub is_heavy: bool,
    /// Subscribers that reconnect with their cursor.
    pub subscribers: Vec<Subscriber>,
    /// Comparisons with the log since they were last reported.
    pub checks: CheckCounts,
}

/// How often the log was compared with a ledger.
#[derive(Clone, Copy, Default)]
pub struct CheckCounts {
    /// Complete logs that contained everything read before, unchanged.
    pub logs: usize,
    /// Subscribers that reconnected with a cursor and received exactly what was newer.
    pub reconnects: usize,
}

impl CheckCounts {
    /// Adds the counts of a copy of the ledger.
    pub fn add(&mut self, other: Self) {
        self.logs += other.logs;
        self.reconnects += other.reconnects;
    }
}

/// One POST to `/insert`.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its inserts, in order.
    pub inserts: Vec<Insert>,
    is_batch: bool,
    /// Its known outcome.
    pub outcome: Outcome,
}

/// One insert of a request.
#[derive(Clone, Debug)]
pub struct Insert {
    /// Part of the data and of nothing else, so that the insert can be found in the log.
    pub tag: String,
    /// The id that the client chose.
    pub id: Option<String>,
    /// The name of the event.
    pub event: String,
    /// The user that the record is private to.
    pub to: Option<String>,
    /// The data, byte for byte.
    pub data: String,
    /// The version that must be the latest one.
    pub expected_version: Option<u64>,
}

/// The outcome of a request, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Status 200 or 201, with these receipts.
    Acknowledged(Vec<String>),
    /// Not in the log, now or later: because of this code, or because the process that might have
    /// stored it is gone.
    Refused(String),
    /// There was no answer, or one that says that the outcome is unknown.
    Unknown,
}

/// The members of a receipt that are needed here.
#[derive(Deserialize)]
pub struct Receipt {
    /// Position in the log.
    pub seq: u64,
    /// Version within event and audience.
    pub version: u64,
}

impl Receipt {
    /// Parses a receipt.
    pub fn of(receipt: &str) -> Result<Self> {
        serde_json::from_str(receipt).map_err(|error| format!("{error}: {receipt}").into())
    }
}

impl Ledger {
    /// One insert in this many is large.
    pub fn large_one_in(&self) -> u32 {
        if self.is_heavy { LARGE_ONE_IN_HEAVY } else { LARGE_ONE_IN }
    }
}

impl Request {
    /// A random insert or batch in which one insert in `large_one_in` is large. `guess` is a
    /// version that may be the latest.
    pub fn random(random: &mut StdRng, guess: u64, large_one_in: u32) -> Self {
        let is_batch = random.random_bool(0.3);
        let count = if is_batch { random.random_range(2..=8) } else { 1 };
        let has_ids = random.random_bool(0.6);
        let mut insert = |_| {
            let tag = format!("{:016x}", random.random::<u64>());
            let number = random.random_range(0..6);
            // Only its id identifies a private record.
            let to = (has_ids && random.random_bool(0.15)).then(|| format!("user|{}", number % 2));
            let id = has_ids.then(|| {
                let n: u128 = random.random();
                let hex = format!("{n:032x}");
                let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
                parts.join("-")
            });
            let expects = to.is_none() && random.random_bool(0.1);
            Insert {
                data: data(random, &tag, large_one_in),
                expected_version: expects.then_some(guess),
                event: if number == 5 { "prüf.ä€".to_owned() } else { format!("e.{number}") },
                tag,
                id,
                to,
            }
        };
        let inserts = (0..count).map(&mut insert).collect();
        Self { inserts, is_batch, outcome: Outcome::Unknown }
    }

    /// A single insert of an event, neither private nor with an expected version.
    pub fn plain(random: &mut StdRng, event: &str) -> Self {
        let mut request = Self::random(random, 0, LARGE_ONE_IN);
        request.inserts.truncate(1);
        request.is_batch = false;
        let insert = &mut request.inserts[0];
        (insert.to, insert.expected_version) = (None, None);
        event.clone_into(&mut insert.event);
        request
    }

    /// A large insert; some dozens of them fill a segment.
    pub fn large(random: &mut StdRng) -> Self {
        let mut request = Self::plain(random, "e.1");
        request.inserts[0].data = long(random, &request.inserts[0].tag);
        request
    }

    /// The request's body.
    pub fn body(&self) -> String {
        let bodies: Vec<_> = self.inserts.iter().map(Insert::body).collect();
        if self.is_batch { format!("[{}]", bodies.join(",")) } else { bodies.concat() }
    }

    /// Whether sending it again cannot store it twice.
    pub fn is_safe_to_retry(&self) -> bool {
        self.inserts.iter().all(|insert| insert.id.is_some())
    }

    /// Takes the outcome from an answer. Statuses that the protocol does not name are errors.
    pub fn record_answer(&mut self, answer: &Answer) -> Result {
        self.outcome = match answer.status {
            200 | 201 => Outcome::Acknowledged(self.receipts(&answer.body)?),
            500 => Outcome::Unknown,
            409 | 503 | 507 => Outcome::Refused(answer.code()),
            status => return Err(format!("an insert got {status}: {}", answer.body).into()),
        };
        Ok(())
    }

    fn receipts(&self, body: &str) -> Result<Vec<String>> {
        let receipts: Vec<String> = match self.is_batch {
            true => serde_json::from_str::<Vec<&RawValue>>(body)?
                .into_iter()
                .map(|receipt| receipt.get().to_owned())
                .collect(),
            false => vec![body.to_owned()],
        };
        ensure!(receipts.len() == self.inserts.len(), "not one receipt for each insert: {body}");
        let mut last = None;
        for (insert, receipt) in self.inserts.iter().zip(&receipts) {
            let Receipt { seq, version } = Receipt::of(receipt)?;
            ensure!(
                last.is_none_or(|last| seq == last + 1),
                "seqs of a batch are not consecutive: {receipts:?}"
            );
            last = Some(seq);
            let expected = insert.expected_version.is_none_or(|before| version == before + 1);
            ensure!(expected, "not the expected version: {insert:?}: {receipt}");
        }
        Ok(receipts)
    }
}

impl Insert {
    fn body(&self) -> String {
        let Self { id, event, to, data, expected_version, .. } = self;
        let id = id.as_ref().map_or_else(String::new, |id| format!(",\"id\":\"{id}\""));
        let to = to.as_ref().map_or_else(String::new, |to| format!(",\"to\":\"{to}\""));
        let version = expected_version
            .map_or_else(String::new, |version| format!(",\"expected_version\":{version}"));
        format!("{{\"event\":\"{event}\",\"data\":{data}{id}{to}{version}}}")
    }
}

fn long(random: &mut StdRng, tag: &str) -> String {
    let text = "é😀".repeat(random.random_range(1_000..12_000));
    format!("{{\"t\":\"{tag}\",\"x\":\"{text}\"}}")
}

/// Numbers that parsers do not preserve, escapes, and sometimes many kilobytes.
fn data(random: &mut StdRng, tag: &str, large_one_in: u32) -> String {
    if random.random_ratio(1, large_one_in) {
        return long(random, tag);
    }
    match random.random_range(0..5) {
        0 => {
            format!("{{\"n\":1.1000000000000000055,\"\\u0061\":[\"\\/\",-0.0],\"t\":\"{tag}\"}}")
        }
        _ => format!("{{\"t\":\"{tag}\",\"n\":{}}}", random.random::<u64>()),
    }
}

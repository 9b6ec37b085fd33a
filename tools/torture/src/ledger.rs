//! What was sent, and what became of it: the campaign's own book, which the log must agree with.

use rand::Rng as _;
use rand::rngs::StdRng;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::Answer;
use crate::subscriber::Subscriber;
use crate::{Result, ensure};

/// How many of the inserts are large: one in so many.
const LARGE_ONE_IN: u32 = 30;
const LARGE_ONE_IN_HEAVY: u32 = 3;

/// The book of one data directory.
#[derive(Clone, Default)]
pub struct Ledger {
    /// Every request that was sent, in no order.
    pub requests: Vec<Request>,
    /// The log as it was read last: it may only grow.
    pub lines: Vec<String>,
    /// Whether a third of what is inserted is large, so that groups are.
    pub is_heavy: bool,
    /// Pages that come back with the cursor that they have.
    pub subscribers: Vec<Subscriber>,
    /// How often it was compared, since it was last asked.
    pub checks: CheckCounts,
}

/// How often the log was compared with a book.
#[derive(Clone, Copy, Default)]
pub struct CheckCounts {
    /// The whole log was read, and everything of it that was read before was there unchanged.
    pub logs: usize,
    /// A page came back with its cursor, and got exactly what was newer.
    pub pages: usize,
}

impl CheckCounts {
    /// Adds those of a copy.
    pub fn add(&mut self, other: Self) {
        self.logs += other.logs;
        self.pages += other.pages;
    }
}

/// One POST.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it inserts, in order.
    pub inserts: Vec<Insert>,
    is_batch: bool,
    /// What is known of it.
    pub outcome: Outcome,
}

/// One insert of a request.
#[derive(Clone, Debug)]
pub struct Insert {
    /// Stands in the data, and nowhere else.
    pub tag: String,
    /// Chosen by the client.
    pub id: Option<String>,
    /// The name.
    pub event: String,
    /// The user that it is private to.
    pub to: Option<String>,
    /// The value, byte for byte.
    pub data: String,
    /// The version that has to be the newest.
    pub expected_version: Option<u64>,
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 201 or 200, with these receipts.
    Acknowledged(Vec<String>),
    /// It is not in the log, and never will be: by this code, or because the process that might
    /// have stored it is gone.
    Refused(String),
    /// No answer came, or one that does not know.
    Unknown,
}

/// What a receipt says, as far as it is needed.
#[derive(Deserialize)]
pub struct Receipt {
    /// Position in the log.
    pub seq: u64,
    /// Version within event and audience.
    pub version: u64,
}

impl Receipt {
    /// Reads one.
    pub fn of(receipt: &str) -> Result<Self> {
        serde_json::from_str(receipt).map_err(|error| format!("{error}: {receipt}").into())
    }
}

impl Ledger {
    /// How many of the inserts are large: one in so many.
    pub fn large_one_in(&self) -> u32 {
        if self.is_heavy { LARGE_ONE_IN_HEAVY } else { LARGE_ONE_IN }
    }
}

impl Request {
    /// Some insert or batch, one of `large_one_in` large; `guess` is a version that may be the
    /// newest.
    pub fn random(random: &mut StdRng, guess: u64, large_one_in: u32) -> Self {
        let is_batch = random.random_bool(0.3);
        let count = if is_batch { random.random_range(2..=8) } else { 1 };
        let has_ids = random.random_bool(0.6);
        let mut insert = |_| {
            let tag = format!("{:016x}", random.random::<u64>());
            let number = random.random_range(0..6);
            // A private record is told apart by its id only.
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

    /// One plain insert of an event.
    pub fn plain(random: &mut StdRng, event: &str) -> Self {
        let mut request = Self::random(random, 0, LARGE_ONE_IN);
        request.inserts.truncate(1);
        request.is_batch = false;
        let insert = &mut request.inserts[0];
        (insert.to, insert.expected_version) = (None, None);
        event.clone_into(&mut insert.event);
        request
    }

    /// One large insert, of which some dozens fill a segment.
    pub fn large(random: &mut StdRng) -> Self {
        let mut request = Self::plain(random, "e.1");
        request.inserts[0].data = long(random, &request.inserts[0].tag);
        request
    }

    /// The body to send.
    pub fn body(&self) -> String {
        let bodies: Vec<_> = self.inserts.iter().map(Insert::body).collect();
        if self.is_batch { format!("[{}]", bodies.join(",")) } else { bodies.concat() }
    }

    /// Whether it may be sent again without storing it twice.
    pub fn is_safe_to_retry(&self) -> bool {
        self.inserts.iter().all(|insert| insert.id.is_some())
    }

    /// Takes in an answer to it. Only the statuses that the protocol names are let through.
    pub fn record_answer(&mut self, answer: &Answer) -> Result {
        self.outcome = match answer.status {
            200 | 201 => Outcome::Acknowledged(self.receipts(&answer.body)?),
            500 => Outcome::Unknown,
            409 | 503 | 507 => Outcome::Refused(answer.code()),
            status => return Err(format!("an insert is answered {status}: {}", answer.body).into()),
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
        ensure!(receipts.len() == self.inserts.len(), "a receipt for each: {body}");
        let mut last = None;
        for (insert, receipt) in self.inserts.iter().zip(&receipts) {
            let Receipt { seq, version } = Receipt::of(receipt)?;
            ensure!(last.is_none_or(|last| seq == last + 1), "seqs of a batch: {receipts:?}");
            last = Some(seq);
            let expected = insert.expected_version.is_none_or(|before| version == before + 1);
            ensure!(expected, "not the version that was expected: {insert:?}: {receipt}");
        }
        Ok(receipts)
    }
}

impl Insert {
    fn body(&self) -> String {
        let Self { id, event, to, data, expected_version, .. } = self;
        let mut body = format!("{{\"event\":\"{event}\",\"data\":{data}");
        if let Some(id) = id {
            body += &format!(",\"id\":\"{id}\"");
        }
        if let Some(to) = to {
            body += &format!(",\"to\":\"{to}\"");
        }
        if let Some(version) = expected_version {
            body += &format!(",\"expected_version\":{version}");
        }
        body + "}"
    }
}

fn long(random: &mut StdRng, tag: &str) -> String {
    let text = "é😀".repeat(random.random_range(1_000..12_000));
    format!("{{\"t\":\"{tag}\",\"x\":\"{text}\"}}")
}

/// Numbers that no parser keeps, escapes, and now and then many kilobytes.
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

//! Repeated kill -9 while clients insert: every acknowledged insert is stored once with the same
//! bytes, and every other one is stored whole or not at all.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use uuid::Uuid;

use crate::harness::program::{Program, small};
use crate::harness::random::seeded_random;
use crate::harness::stream::EventStream;
use crate::harness::wait::wait_until;
use crate::harness::wire::{Client, Connection, JSON, request};

const KILLS: usize = 30;
const WRITERS: usize = 4;

/// One insert of a request, as sent.
#[derive(Clone, Debug)]
struct Sent {
    id: Uuid,
    event: String,
    data: String,
}

/// One request, and its answer if there was one.
#[derive(Debug)]
struct Request {
    inserts: Vec<Sent>,
    is_batch: bool,
    /// The receipts as text, in the order of the inserts.
    receipts: Option<Vec<String>>,
}

/// The lines of the log, with indexes by id and by event.
#[derive(Default)]
struct Log {
    lines: Vec<String>,
    by_id: HashMap<Uuid, usize>,
    versions: BTreeMap<String, u64>,
}

impl Request {
    fn random(random: &mut StdRng, number: usize) -> Self {
        let is_batch = random.random_bool(0.4);
        let len = if is_batch { random.random_range(2..=8) } else { 1 };
        let insert = |random: &mut StdRng| Sent {
            id: Uuid::from_u128(random.random()),
            event: format!("e{}", random.random_range(0..6)),
            data: data(random, number),
        };
        let inserts = (0..len).map(|_| insert(random)).collect();
        Self { inserts, is_batch, receipts: None }
    }

    fn body(&self) -> String {
        let insert = |sent: &Sent| {
            let Sent { id, event, data } = sent;
            format!("{{\"event\":\"{event}\",\"id\":\"{id}\",\"data\":{data}}}")
        };
        let inserts: Vec<_> = self.inserts.iter().map(insert).collect();
        match self.is_batch {
            true => format!("[{}]", inserts.join(",")),
            false => inserts.concat(),
        }
    }

    /// Sends the request. Returns whether an answer came.
    fn send(&mut self, connection: &mut Connection) -> bool {
        let bytes = request("POST", "/insert", &[JSON], self.body().as_bytes());
        loop {
            connection.send(&bytes);
            let Some(answer) = connection.answer("POST") else { return false };
            if answer.status == 503 {
                // Briefly after a start; nothing was stored.
                answer.problem(503, "ids-not-ready");
                continue;
            }
            self.receipts = Some(self.receipts_of(answer.expect(201).text()));
            return true;
        }
    }

    fn receipts_of(&self, text: &str) -> Vec<String> {
        match self.is_batch {
            true => {
                let raw: Vec<&serde_json::value::RawValue> =
                    serde_json::from_str(text).expect("an array");
                raw.iter().map(|receipt| receipt.get().to_owned()).collect()
            }
            false => vec![text.to_owned()],
        }
    }
}

/// Numbers and escapes that a JSON parser would normalise, and sometimes many kilobytes.
fn data(random: &mut StdRng, number: usize) -> String {
    match random.random_range(0..20) {
        0 => format!("\"{}\"", "é😀".repeat(random.random_range(1_000..4_000))),
        1..4 => format!("{{\"n\":{number}.1000000000000000055,\"\\u0061\":[\"\\/\",-0.0]}}"),
        _ => format!("{{\"n\":{number},\"r\":{}}}", random.random::<u64>()),
    }
}

/// Inserts until the server is killed.
fn write_until_killed(
    client: Client,
    mut random: StdRng,
    acknowledged: &AtomicUsize,
) -> Vec<Request> {
    let mut requests = Vec::new();
    let Some(mut connection) = Connection::try_open(client.0) else { return requests };
    loop {
        let mut request = Request::random(&mut random, requests.len());
        let answered = request.send(&mut connection);
        requests.push(request);
        if !answered {
            return requests;
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

impl Log {
    /// Reads the new lines. Checks that seqs and versions have no gaps and no id occurs twice.
    fn read_on(&mut self, client: Client) {
        for line in client.lines(&format!("/log?after={}", self.lines.len())) {
            let record: Value = serde_json::from_str(&line).expect("a line is JSON");
            assert_eq!(record["seq"], self.lines.len() + 1, "{line}");
            let event = record["event"].as_str().expect("a name").to_owned();
            let version = self.versions.entry(event).or_default();
            *version += 1;
            assert_eq!(record["version"], *version, "{line}");
            let id = record["id"].as_str().expect("an id").parse().expect("a UUID");
            let before = self.by_id.insert(id, self.lines.len());
            assert_eq!(before, None, "an id occurs twice: {line}");
            self.lines.push(line);
        }
    }

    fn find(&self, sent: &Sent) -> Option<&str> {
        let line = &self.lines[*self.by_id.get(&sent.id)?];
        let expected = format!(",\"data\":{},\"hash\":\"", sent.data);
        assert!(line.contains(&expected), "not the bytes that were sent: {line}");
        assert!(line.contains(&format!(",\"event\":\"{}\",", sent.event)), "{line}");
        Some(line)
    }

    /// Checks that an acknowledged request is stored as its receipt says, and any other one whole
    /// or not at all. Returns whether it is stored.
    fn check(&self, request: &Request) -> bool {
        let found: Vec<_> = request.inserts.iter().map(|sent| self.find(sent)).collect();
        let stored = found.iter().flatten().count();
        assert!(stored == 0 || stored == found.len(), "half of a batch: {request:?}");
        if let Some(receipts) = &request.receipts {
            assert_eq!(stored, found.len(), "acknowledged and lost: {request:?}");
            for (receipt, line) in receipts.iter().zip(found.iter().flatten()) {
                let members = receipt.strip_suffix('}').expect("an object");
                assert!(line.starts_with(&format!("{members},\"data\":")), "{receipt}: {line}");
            }
        }
        stored > 0
    }
}

/// Retries unanswered requests, which must get 200 if they were stored and 201 otherwise, and
/// answered batches, which must get 200 with the same receipts.
fn retry(client: Client, log: &Log, requests: &mut [Request]) {
    for request in requests {
        let stored = log.check(request);
        if request.receipts.is_some() && !request.is_batch {
            continue;
        }
        let answer = client.insert(request.body());
        assert_eq!(answer.status, if stored { 200 } else { 201 }, "{request:?}: {answer:?}");
        let receipts = request.receipts_of(answer.text());
        assert!(request.receipts.as_ref().is_none_or(|before| *before == receipts));
        request.receipts = Some(receipts);
    }
}

fn start(dir: &Path) -> Program {
    let mut command = small(dir);
    // So small that most starts find a snapshot, often one that a kill left incomplete.
    command.env("BROKER_LOG", "warn").env("BROKER_SNAPSHOT_BYTES", "4KiB");
    Program::start(command)
}

#[test]
fn thirty_kills_lose_nothing_acknowledged_and_split_no_batch() {
    let mut random = seeded_random();
    let dir = tempfile::tempdir().expect("a directory");
    let mut all: Vec<Request> = Vec::new();
    let mut log = Log::default();
    let mut unanswered: Vec<Request> = Vec::new();
    for _ in 0..KILLS {
        let program = start(dir.path());
        let client = program.client;
        log.read_on(client);
        client.wait_for_ids();
        retry(client, &log, &mut unanswered);
        log.read_on(client);
        unanswered.iter().for_each(|request| assert!(log.check(request)));
        all.append(&mut unanswered);

        let enough = random.random_range(1..60);
        let acknowledged = AtomicUsize::new(0);
        let seeds: Vec<u64> = (0..WRITERS).map(|_| random.random()).collect();
        unanswered = std::thread::scope(|scope| {
            let acknowledged = &acknowledged;
            let write = |seed| {
                let random = StdRng::seed_from_u64(seed);
                scope.spawn(move || write_until_killed(client, random, acknowledged))
            };
            let writers: Vec<_> = seeds.into_iter().map(write).collect();
            wait_until("enough is acknowledged", || acknowledged.load(Ordering::Relaxed) >= enough);
            program.kill();
            writers.into_iter().flat_map(|writer| writer.join().expect("no panic")).collect()
        });
    }
    let program = start(dir.path());
    log.read_on(program.client);
    all.append(&mut unanswered);
    // Read again from the beginning: no byte has changed.
    assert_eq!(program.client.lines("/log"), log.lines);
    let stored = all.iter().filter(|request| log.check(request)).count();
    assert_eq!(log.versions["broker:open"], KILLS as u64 + 1);
    assert_history_is_the_log(program.client, &log);
    println!("{} requests, {stored} stored, {} records", all.len(), log.lines.len());
    program.stop();
}

fn assert_history_is_the_log(client: Client, log: &Log) {
    for event in log.versions.keys().filter(|event| event.starts_with('e')) {
        let of_event = |line: &&String| line.contains(&format!(",\"event\":\"{event}\","));
        let expected: Vec<_> = log.lines.iter().filter(of_event).cloned().collect();
        assert_eq!(client.lines(&format!("/audit/{event}")), expected);
    }
}

/// A page that was open when the server was killed reconnects with its cursor, ends on the latest
/// version and never goes backwards.
#[test]
fn stream_continues_after_a_kill_without_a_reset() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut version = 0;
    let mut cursor: Option<String> = None;
    for _ in 0..3 {
        let program = start(dir.path());
        let target = "/events?event=a";
        let header = cursor.as_ref().map(|cursor| format!("Last-Event-ID: {cursor}"));
        let headers: Vec<&str> = header.as_deref().into_iter().collect();
        let mut stream = EventStream::open(program.client.0, target, &headers);
        for n in 0..20 {
            program.client.put("a", &n.to_string());
        }
        let latest = version + 20;
        while version < latest {
            let block = stream.block();
            assert!(!block.is("broker:reset"), "{block:?}");
            if block.is("a") {
                assert!(block.version() > version, "{block:?}");
                version = block.version();
            }
            cursor = Some(block.id);
        }
        program.kill();
    }
    assert_eq!(version, 60);
}

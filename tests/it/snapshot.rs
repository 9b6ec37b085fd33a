//! Starts from a snapshot of the latest values give the same answers as starts that read the whole
//! log.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::files::{flip, segments};
use crate::harness::program::{Program, small};
use crate::harness::stream::EventStream;
use crate::harness::wait::{WAIT_MAX, eventually, wait_until};
use crate::harness::wire::Client;

const EVENTS: usize = 20;

fn command(dir: &Path) -> Command {
    let mut command = small(dir);
    command.env("BROKER_SNAPSHOT_BYTES", "64KiB");
    command
}

fn insert_many(client: Client, rounds: usize) {
    for round in 0..rounds {
        let insert = |event: usize| {
            let to = if event.is_multiple_of(5) { ",\"to\":\"bob\"" } else { "" };
            let data = "x".repeat(4_000 + round);
            format!("{{\"event\":\"e{event}\"{to},\"data\":{{\"n\":{round}.50,\"x\":\"{data}\"}}}}")
        };
        let inserts: Vec<_> = (0..EVENTS).map(insert).collect();
        client.insert(format!("[{}]", inserts.join(","))).expect(201);
    }
}

/// Waits until the snapshot differs from `before`.
fn wait_for_snapshot(dir: &Path, before: &[u8]) -> Vec<u8> {
    eventually("a snapshot is written", || {
        let bytes = fs::read(dir.join("data/journal/snapshot")).ok()?;
        (bytes != before).then_some(bytes)
    })
}

/// The latest records without the cursor, which depends on the epoch.
fn latest(client: Client) -> Value {
    client.get("/latest").expect(200).json()["records"].clone()
}

/// Creates a log with a snapshot in the middle. Returns the log, the latest records and a cursor.
fn log_with_snapshot(dir: &Path) -> (Vec<String>, Value, String) {
    let program = Program::start(command(dir));
    let client = program.client;
    insert_many(client, 20);
    let mut stream = program.events("?event=e1");
    let cursor = stream.block().id;
    wait_for_snapshot(dir, b"");
    insert_many(client, 3);
    let log = client.lines("/log");
    let latest = latest(client);
    // After a clean end the history needs no records from before the snapshot.
    program.stop();
    (log, latest, cursor)
}

fn records_read(program: &Program) -> u64 {
    let lines = program.log_lines();
    let line = lines.iter().find(|line| line["fields"]["message"] == "log read");
    line.expect("a logged count")["fields"]["records"].as_u64().expect("a number")
}

#[test]
fn start_with_a_snapshot_reads_only_the_end_of_the_log_and_answers_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, latest_before, cursor) = log_with_snapshot(dir.path());

    let program = Program::start(command(dir.path()));
    let client = program.client;
    assert!(records_read(&program) < log.len() as u64, "some records are skipped");
    assert_eq!(latest(client), latest_before);
    assert_eq!(client.lines("/log")[..log.len()], log);
    // Versions continue for public and private values, and expected versions are checked.
    let stale = client.insert(r#"{"event":"e1","data":0,"expected_version":22}"#);
    stale.problem(409, "version-mismatch");
    let receipt = client.insert(r#"{"event":"e1","data":0,"expected_version":23}"#).expect(201);
    assert_eq!(receipt.json()["version"], 24);
    let receipt = client.insert(r#"{"event":"e5","to":"bob","data":0}"#).expect(201);
    assert_eq!(receipt.json()["version"], 24);
    // A cursor of the previous epoch is valid.
    let header = format!("Last-Event-ID: {cursor}");
    let mut stream = EventStream::open(client.0, "/events?event=e1", &[header.as_str()]);
    let block = stream.block();
    assert!(block.is("e1") && block.version() == 24, "{block:?}");
    wait_until("the skipped segments are verified", || client.health()["unverified"] == 0);
    program.stop();
}

#[test]
fn start_with_a_damaged_snapshot_reads_the_whole_log_and_answers_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, latest_before, _) = log_with_snapshot(dir.path());
    let path = dir.path().join("data/journal/snapshot");
    let middle = fs::read(&path).expect("it is there").len() / 2;
    flip(&path, middle, 4);
    let program = Program::start(command(dir.path()));
    assert_eq!(records_read(&program), log.len() as u64, "everything is read");
    assert!(program.log().contains("snapshot cannot be used"), "{}", program.log());
    assert_eq!(latest(program.client), latest_before);
    program.stop();
}

#[test]
fn damage_in_skipped_segments_stops_the_server_and_refuses_the_next_start() {
    let dir = tempfile::tempdir().expect("a directory");
    log_with_snapshot(dir.path());
    let first = &segments(&dir.path().join("data"))[0];
    flip(first, 5_000, 1);
    // The damage may be found before the server listens.
    let log = match Program::try_start(command(dir.path())) {
        Ok(mut program) => {
            let status = program.wait(WAIT_MAX);
            assert!(!status.success());
            program.log()
        }
        Err(refusal) => refusal.stderr,
    };
    let name = first.file_name().expect("a name").to_str().expect("UTF-8");
    assert!(log.contains(name), "the file is named: {log}");
    let refusal = Program::try_start(command(dir.path())).err().expect("the start is refused");
    assert!(refusal.stderr.contains(name), "{}", refusal.stderr);
}

#[test]
fn log_rolled_back_behind_its_snapshot_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    log_with_snapshot(dir.path());
    let stale = dir.path().join("stale");
    fs::create_dir(&stale).expect("a directory");
    for path in segments(&dir.path().join("data")) {
        fs::copy(&path, stale.join(path.file_name().expect("a name"))).expect("a copy");
    }
    let before = fs::read(dir.path().join("data/journal/snapshot")).expect("it is there");
    let program = Program::start(command(dir.path()));
    insert_many(program.client, 20);
    wait_for_snapshot(dir.path(), &before);
    program.kill();
    // Remove the projection and the watermark, and put the old segments back.
    fs::remove_dir_all(dir.path().join("data/projection")).expect("it is there");
    fs::remove_file(dir.path().join("data/journal/mark")).expect("it is there");
    segments(&dir.path().join("data"))
        .iter()
        .for_each(|path| fs::remove_file(path).expect("it is there"));
    for entry in fs::read_dir(&stale).expect("a directory") {
        let path = entry.expect("an entry").path();
        let to = dir.path().join("data/journal").join(path.file_name().expect("a name"));
        fs::copy(path, to).expect("a copy");
    }
    let refusal = Program::try_start(command(dir.path())).err().expect("the start is refused");
    assert!(refusal.stderr.contains("was durable"), "{}", refusal.stderr);
}

/// A served backup diverges under the same log id. If its segments replace the original's, the
/// snapshot left there describes other records.
#[test]
fn snapshot_of_a_diverged_history_is_ignored() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, _, _) = log_with_snapshot(dir.path());
    // The copy has only the first segment and continues with other records.
    let other = tempfile::tempdir().expect("a directory");
    let program = Program::start(small(other.path()));
    program.stop();
    let copy = other.path().join("data");
    fs::remove_dir_all(&copy).expect("it is there");
    fs::create_dir_all(copy.join("journal")).expect("a directory");
    fs::copy(dir.path().join("data/identity"), copy.join("identity")).expect("a copy");
    let first = &segments(&dir.path().join("data"))[0];
    let to = copy.join("journal").join(first.file_name().expect("a name"));
    fs::copy(first, to).expect("a copy");
    let mut command = small(other.path());
    command.env("BROKER_SNAPSHOT_BYTES", "1GiB");
    let program = Program::start(command);
    insert_many(program.client, 40);
    let (theirs, latest_there) = (program.client.lines("/log"), latest(program.client));
    assert!(theirs.len() > log.len(), "it is longer than the log of the snapshot");
    program.stop();

    let journal = dir.path().join("data/journal");
    segments(&dir.path().join("data"))
        .iter()
        .for_each(|path| fs::remove_file(path).expect("it is there"));
    fs::remove_file(journal.join("mark")).expect("it is there");
    fs::remove_dir_all(dir.path().join("data/projection")).expect("it is there");
    for path in segments(&other.path().join("data")) {
        fs::copy(&path, journal.join(path.file_name().expect("a name"))).expect("a copy");
    }
    let program = Program::start(self::command(dir.path()));
    assert!(program.log().contains("belongs to another history"), "{}", program.log());
    assert_eq!(latest(program.client), latest_there);
    assert_eq!(program.client.lines("/log")[..theirs.len()], theirs);
    program.stop();
}

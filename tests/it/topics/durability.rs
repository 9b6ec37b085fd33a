//! Positions survive kill -9 and every command that copies a log.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::harness::program::{Program, command, run, small};
use crate::harness::wire::{Client, Connection, request};
use crate::topics::{JSON, acknowledge, acknowledgement, consume, positions, produce};

const KILLS: usize = 6;
const VERSIONS: u64 = 600;

/// Starts a server that takes frequent snapshots, from which starts read positions.
fn server(dir: &Path) -> Program {
    let mut command = small(dir);
    command.env("BROKER_SNAPSHOT_BYTES", "4KiB");
    Program::start(command)
}

/// Consumes until the server is killed or nothing is left, and acknowledges each record with the
/// next request. `acked` is the last acknowledged version that was answered, which must survive.
fn work(client: Client, consumer: &str, acked: &AtomicU64) {
    let mut connection = Connection::open(client.0);
    let mut ack = None;
    loop {
        connection.send(match ack {
            None => request("GET", &format!("/consume/cats?consumer={consumer}"), &[], b""),
            Some(ack) => {
                let body = acknowledgement(consumer, ack);
                request("POST", "/consume/cats", &[JSON], body.as_bytes())
            }
        });
        let Some(answer) = connection.answer("GET") else { return };
        if let Some(ack) = ack {
            acked.store(ack, Ordering::SeqCst);
        }
        if answer.status == 204 {
            return;
        }
        let version = answer.expect(200).json()["version"].as_u64().expect("a version");
        assert_eq!(version, acked.load(Ordering::SeqCst).max(ack.unwrap_or(0)) + 1, "in order");
        ack = Some(version);
    }
}

#[test]
fn acknowledged_records_are_not_redelivered_after_kill_9_and_none_is_skipped() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = server(dir.path());
    let batch = |from: u64| {
        let events = (from..from + 100).map(|n| format!("{{\"event\":\"cats\",\"data\":{n}}}"));
        format!("[{}]", events.collect::<Vec<_>>().join(","))
    };
    (0..VERSIONS)
        .step_by(100)
        .for_each(|from| drop(program.client.insert(batch(from)).expect(201)));
    drop(program);
    let consumers = ["a", "b"];
    let acked = consumers.map(|_| AtomicU64::new(0));
    for kill in 1..=KILLS {
        let program = server(dir.path());
        for (consumer, acked) in consumers.iter().zip(&acked) {
            let next = consume(program.client, &format!("cats?consumer={consumer}"));
            let next = next.expect("not all is consumed");
            // The last acknowledgement may have been stored without its answer arriving.
            let known = acked.load(Ordering::SeqCst);
            assert!(next == known + 1 || next == known + 2, "{next} after {known}");
            acked.store(next - 1, Ordering::SeqCst);
        }
        let goal = acked[0].load(Ordering::SeqCst) + 40;
        std::thread::scope(|scope| {
            let client = program.client;
            for (consumer, acked) in consumers.iter().zip(&acked) {
                scope.spawn(move || work(client, consumer, acked));
            }
            while acked[0].load(Ordering::SeqCst) < goal {
                std::thread::yield_now();
            }
            program.kill();
        });
        assert!(acked[0].load(Ordering::SeqCst) >= goal, "kill {kill}");
    }
    let program = server(dir.path());
    for (consumer, acked) in consumers.iter().zip(&acked) {
        resume_work(program.client, consumer, acked);
        assert_eq!(acked.load(Ordering::SeqCst), VERSIONS);
    }
    for consumer in consumers {
        let found = positions(program.client);
        let own = found.iter().filter(|record| record["data"]["consumer"] == consumer);
        let versions: Vec<_> = own.map(|record| record["data"]["version"].as_u64()).collect();
        assert!(versions.is_sorted_by(|one, two| one < two), "{versions:?}");
    }
    assert!(dir.path().join("data/journal/snapshot").exists(), "starts had one");
    program.stop();
    verify(dir.path(), "data");
}

/// Consumes the rest after the last kill.
fn resume_work(client: Client, consumer: &str, acked: &AtomicU64) {
    let next = consume(client, &format!("cats?consumer={consumer}")).expect("not all is consumed");
    let known = acked.load(Ordering::SeqCst);
    assert!(next == known + 1 || next == known + 2, "{next} after {known}");
    acked.store(next - 1, Ordering::SeqCst);
    work(client, consumer, acked);
}

fn run_command(dir: &Path, args: &[&str]) -> String {
    let mut command: Command = command(dir);
    command.env("BROKER_SEGMENT_BYTES", "64KiB").args(args);
    let (status, stdout, stderr) = run(command);
    assert!(status.success(), "{args:?}: {stderr}");
    stdout
}

fn verify(dir: &Path, data: &str) {
    let said = run_command(dir, &["verify", "--data-dir", data]);
    assert!(said.contains("no damage was found"), "{said}");
}

#[test]
fn positions_survive_backup_restore_export_import_and_rebuild() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let program = server(dir);
    for n in 1..=9 {
        produce(program.client, "cats", &n.to_string());
    }
    let long = "x".repeat(255);
    produce(program.client, &long, "1");
    for ack in 1..=7 {
        acknowledge(program.client, "cats", ack);
    }
    acknowledge(program.client, &long, 1);
    run_command(dir, &["backup", "--data-dir", "data", "copy"]);
    let before = positions(program.client);
    assert_eq!(before.len(), 8);
    program.stop();
    verify(dir, "data");
    run_command(dir, &["restore", "--data-dir", "restored", "copy"]);
    run_command(dir, &["export", "--data-dir", "data", "all.ndjson"]);
    run_command(dir, &["import", "--data-dir", "imported", "all.ndjson"]);
    run_command(dir, &["rebuild", "--data-dir", "data"]);
    for data in ["data", "restored", "imported"] {
        verify(dir, data);
        let mut command = small(dir);
        command.env("BROKER_DATA_DIR", dir.join(data)).env("BROKER_MAX_CONSUMERS", "2");
        let program = Program::start(command);
        let client = program.client;
        assert_eq!(positions(client), before, "{data}");
        assert_eq!(consume(client, "cats?consumer=c"), Some(8), "{data}");
        assert_eq!(consume(client, &format!("{long}?consumer=c")), None, "{data}");
        client.get("/consume/cats?consumer=new").problem(507, "too-many-consumers");
        assert_eq!(acknowledge(client, "cats", 8), Some(9), "{data}");
        assert_eq!(positions(client).last().expect("some")["version"], 8, "{data}");
        program.stop();
        verify(dir, data);
    }
    let exported = run_command(dir, &["export", "--data-dir", "data"]);
    assert!(exported.contains("\"event\":\"broker:consumer.c.cats\""), "{exported}");
}

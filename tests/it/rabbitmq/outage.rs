//! RabbitMQ is unreachable or does not respond.

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::program::Program;
use crate::harness::wait::{WAIT_MAX, wait_until};
use crate::rabbitmq::{bridged, health, insert_many, metric};

const BOTH: [(&str, &str); 2] = [("EXCHANGE", "events"), ("QUEUE", "inbox")];

/// A URL where nobody listens.
fn unused_url() -> String {
    let free = TcpListener::bind("127.0.0.1:0").expect("any port");
    format!("amqp://guest:hunter2@{}", free.local_addr().expect("an address"))
}

/// Resident memory in KiB.
fn resident(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid()));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim_end_matches("kB").trim().parse().expect("a number")
}

#[test]
fn broker_serves_without_rabbitmq_and_reports_the_bridge_state() {
    let dir = tempfile::tempdir().expect("a directory");
    let broker = Program::start(bridged(dir.path(), &unused_url(), &BOTH));
    let client = broker.client;
    for n in 1..=3 {
        client.put("a", &n.to_string());
    }
    let bridge = health(client);
    assert_eq!(bridge["in"]["connected"], false);
    let out = &bridge["out"];
    assert_eq!((&out["connected"], &out["seq"]), (&Value::from(false), &Value::from(0)));
    let lag = out["lag"].as_u64().expect("a number");
    assert!(lag >= 3, "{lag}");
    let ready = client.get("/readyz").expect(200);
    let expected = format!("ok\nrabbitmq out: away, {lag} records behind\nrabbitmq in: away\n");
    assert_eq!(ready.text(), expected);
    assert_eq!(metric(client, "broker_bridge_connected{way=\"in\"}"), 0.0);
    assert_eq!(metric(client, "broker_bridge_lag"), lag as f64);
    wait_until("each direction is retried", || {
        let lines = broker.log_lines();
        let tried = |way| {
            let is_attempt = |line: &&Value| {
                line["fields"]["way"] == way && line["fields"]["retry_seconds"].is_number()
            };
            lines.iter().filter(is_attempt).count() >= 2
        };
        tried("out") && tried("in")
    });
    assert!(!broker.log().contains("hunter2"));
    assert_eq!(broker.setting("BROKER_RABBITMQ_URL"), "***");
    broker.stop();
}

/// The log is the queue, so a backlog for RabbitMQ takes no memory.
#[test]
fn memory_does_not_grow_with_the_backlog() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = bridged(dir.path(), &unused_url(), &BOTH);
    command.env("BROKER_SEGMENT_BYTES", "1MiB").env("BROKER_WINDOW_BYTES", "64KiB");
    let broker = Program::start(command);
    // Few large records, because the history needs memory for each.
    let insert = format!("{{\"event\":\"a\",\"data\":\"{}\"}}", "x".repeat(20_000));
    let batch = format!("[{}]", vec![insert; 20].join(","));
    let insert = |times: usize| {
        for _ in 0..times {
            broker.client.insert(&batch).expect(201);
        }
        broker.client.get("/audit/a?limit=1").expect(200);
    };
    insert(20);
    let before = resident(&broker);
    insert(80);
    let grown_kib = resident(&broker).saturating_sub(before);
    assert!(grown_kib < 12 << 10, "memory grew by {grown_kib} KiB with a backlog of 32 MB");
    assert!(health(broker.client)["out"]["lag"].as_u64() >= Some(2_000));
    broker.stop();
}

/// A server that accepts connections and never answers.
#[test]
fn unresponsive_rabbitmq_delays_neither_start_nor_shutdown() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("any port");
    let url = format!("amqp://{}", silent.local_addr().expect("an address"));
    let dir = tempfile::tempdir().expect("a directory");
    let mut broker = Program::start(bridged(dir.path(), &url, &BOTH));
    insert_many(broker.client, "a", 0, 3);
    let _connections = [silent.accept().expect("one way"), silent.accept().expect("the other")];
    broker.signal(Signal::TERM);
    assert!(broker.wait(WAIT_MAX).success(), "{}", broker.log());
    assert!(!broker.log().contains("cut short"), "{}", broker.log());
}

//! The bridge to RabbitMQ, tested against a real RabbitMQ (PROTOCOL.md, section 20).

mod inbound;
mod loops;
mod node;
mod outage;
mod outbound;
mod peer;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::program::{self, Program};
use crate::harness::wait::wait_until;
use crate::harness::wire::Client;
use crate::rabbitmq::node::Node;

/// A command that starts a small broker with a bridge to `url`.
fn bridged(dir: &Path, url: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = program::small(dir);
    command.env("BROKER_RABBITMQ_URL", url);
    for (name, value) in settings {
        command.env(format!("BROKER_RABBITMQ_{name}"), value);
    }
    command
}

fn start(dir: &Path, node: &Node, settings: &[(&str, &str)]) -> Program {
    Program::start(bridged(dir, &node.url(), settings))
}

/// The state of the bridge in `/health`.
fn health(client: Client) -> Value {
    client.health()["rabbitmq"].clone()
}

/// Waits until RabbitMQ has confirmed every record.
#[track_caller]
fn wait_until_sent(client: Client) {
    wait_until("all is sent", || {
        let out = &health(client)["out"];
        out["connected"] == true && out["lag"] == 0
    });
}

/// The value of a metric.
fn metric(client: Client, name: &str) -> f64 {
    let text = client.get("/metrics").expect(200).text().to_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} in {text}")).parse().expect("a number")
}

/// Inserts one batch of `count` records of an event, numbered from `first`. Returns their ids.
#[track_caller]
fn insert_many(client: Client, event: &str, first: usize, count: usize) -> Vec<String> {
    let inserts: Vec<_> = (first..first + count)
        .map(|n| format!("{{\"event\":\"{event}\",\"data\":{{\"n\":{n}}}}}"))
        .collect();
    let receipts = client.insert(format!("[{}]", inserts.join(","))).expect(201).json();
    let receipts = receipts.as_array().expect("a batch").clone();
    receipts.iter().map(|receipt| receipt["id"].as_str().expect("an id").to_owned()).collect()
}

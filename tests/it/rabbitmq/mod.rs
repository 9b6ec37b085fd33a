//! The bridge to RabbitMQ, against a real one; PROTOCOL.md section 20.

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
use crate::harness::wire::{Client, eventually};
use node::Node;

/// A small broker with the bridge to a node.
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

/// How the bridge says it is.
fn health(client: Client) -> Value {
    client.get("/health").expect(200).json()["rabbitmq"].clone()
}

/// Waits until everything that is to go out was confirmed.
#[track_caller]
fn wait_until_sent(client: Client) {
    eventually("all is sent", || {
        let out = health(client)["out"].clone();
        (out["connected"] == true && out["lag"] == 0).then_some(())
    });
}

/// A metric of `/metrics`.
fn metric(client: Client, name: &str) -> f64 {
    let text = client.get("/metrics").expect(200).text().to_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} in {text}")).parse().expect("a number")
}

/// A batch of so many inserts of one event, with data from `first` on; the ids in order.
#[track_caller]
fn insert_many(client: Client, event: &str, first: usize, count: usize) -> Vec<String> {
    let inserts: Vec<_> = (first..first + count)
        .map(|n| format!("{{\"event\":\"{event}\",\"data\":{{\"n\":{n}}}}}"))
        .collect();
    let receipts = client.insert(format!("[{}]", inserts.join(","))).expect(201).json();
    let receipts = receipts.as_array().expect("a batch").clone();
    receipts.iter().map(|receipt| receipt["id"].as_str().expect("an id").to_owned()).collect()
}

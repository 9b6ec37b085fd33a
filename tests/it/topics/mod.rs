//! `/produce` and `/consume`.

mod acknowledge;
mod consume;
mod consumers;
mod durability;
mod long_polling;
mod produce;

use serde_json::Value;

use crate::harness::wire::{Answer, Client, JSON};

/// Posts to `/produce/`, with a query if `target` has one.
#[track_caller]
fn send(client: Client, target: &str, body: impl AsRef<[u8]>) -> Answer {
    client.send("POST", &format!("/produce/{target}"), &[JSON], body.as_ref())
}

/// Produces and returns the receipt.
#[track_caller]
fn produce(client: Client, topic: &str, data: &str) -> Value {
    send(client, topic, data).expect(201).json()
}

/// The version that `/consume/` returns, or `None` if there is no record.
#[track_caller]
fn consume(client: Client, target: &str) -> Option<u64> {
    version(client.get(&format!("/consume/{target}")))
}

/// The version of the record in an answer, `None` when there is no record.
#[track_caller]
fn version(answer: Answer) -> Option<u64> {
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    if answer.status == 204 {
        assert_eq!(answer.body, b"");
        return None;
    }
    answer.expect(200).json()["version"].as_u64()
}

/// Posts to `/consume/`, with a query if `target` has one.
#[track_caller]
fn post(client: Client, target: &str, body: &str) -> Answer {
    client.send("POST", &format!("/consume/{target}"), &[JSON], body.as_bytes())
}

/// Acknowledges as the consumer `c`; the version of the next record, `None` when there is none.
#[track_caller]
fn acknowledge(client: Client, topic: &str, ack: u64) -> Option<u64> {
    version(post(client, topic, &acknowledgement("c", ack)))
}

/// The body of an acknowledgement.
fn acknowledgement(consumer: &str, ack: u64) -> String {
    format!("{{\"consumer\":\"{consumer}\",\"ack\":{ack}}}")
}

/// The records of consumer positions, in the order of the log.
fn positions(client: Client) -> Vec<Value> {
    let lines = client.lines("/log");
    let records = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let is_position = |record: &Value| {
        record["event"].as_str().is_some_and(|event| event.starts_with("broker:consumer."))
    };
    records.filter(is_position).collect()
}

//! Messages from RabbitMQ become records.

use serde_json::Value;

use crate::harness::program::Program;
use crate::harness::wait::{eventually, wait_until};
use crate::harness::wire::Client;
use crate::rabbitmq::node::Node;
use crate::rabbitmq::peer::{Message, Peer};
use crate::rabbitmq::{metric, start};

const SETTINGS: [(&str, &str); 1] = [("QUEUE", "inbox")];

/// The data of all versions of an event, or `None` while there are fewer than `count`.
fn data(client: Client, event: &str, count: u64) -> Option<Vec<Value>> {
    let latest = client.get(&format!("/latest?event={event}")).expect(200).json();
    if latest["records"][0]["version"].as_u64().unwrap_or(0) < count {
        return None;
    }
    let records = client.get(&format!("/audit/{event}")).expect(200).json();
    let records = records.as_array().expect("an array");
    Some(records.iter().map(|record| record["data"].clone()).collect())
}

/// The logged reasons of refused messages.
fn reasons(broker: &Program) -> Vec<String> {
    let lines = broker.log_lines();
    let reason = |line: &Value| line["fields"]["reason"].as_str().map(str::to_owned);
    lines.iter().filter_map(reason).collect()
}

#[test]
fn every_message_becomes_one_record_in_order_despite_kills_of_either_side() {
    const COUNT: usize = 2_000;
    let dir = tempfile::tempdir().expect("a directory");
    let mut node = Node::start();
    let peer = Peer::connect(&node);
    peer.queue("inbox", None);
    peer.exchange("jobs");
    peer.bind("inbox", "jobs", "job.#");
    let messages: Vec<_> =
        (0..COUNT).map(|n| (uuid::Uuid::new_v4().to_string(), n.to_string())).collect();
    peer.publish_all("job.run", &messages[..COUNT / 2], "jobs");

    // Broker is killed while it receives them.
    let broker = start(dir.path(), &node, &SETTINGS);
    eventually("some are stored", || data(broker.client, "job.run", 10));
    broker.kill();
    let broker = start(dir.path(), &node, &SETTINGS);
    peer.publish_all("job.run", &messages[COUNT / 2..], "jobs");

    // RabbitMQ is killed, too.
    node.kill();
    drop(peer);
    node.restart();
    let peer = Peer::connect(&node);
    let mut all = Vec::new();
    while all.len() < COUNT {
        let more = all.len() as u64 + 1;
        all = eventually("more are stored", || data(broker.client, "job.run", more));
    }
    let expected: Vec<_> = (0..COUNT).map(Value::from).collect();
    assert_eq!(all.len(), COUNT, "each message once");
    assert!(all == expected, "in the order of the queue");

    // The publisher was not sure and publishes all of them again.
    peer.publish_all("job.run", &messages, "jobs");
    peer.publish("jobs", "job.last", None, "true");
    eventually("the last is stored", || data(broker.client, "job.last", 1));
    assert_eq!(data(broker.client, "job.run", 1).expect("a history").len(), COUNT);
    wait_until("all are acknowledged", || peer.count("inbox") == 0);
    let records: Value = broker.client.get("/audit/job.run?limit=1").expect(200).json();
    assert_eq!(records[0]["id"], messages[0].0, "the record has the id of its message");
    assert_eq!(records[0]["author"], "broker:rabbitmq", "the author names the source");
    // RabbitMQ would put unacknowledged messages back into the queue.
    broker.stop();
    assert_eq!(peer.count("inbox"), 0);
}

#[test]
fn unacceptable_messages_are_dead_lettered_and_their_reasons_logged() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = Node::start();
    let peer = Peer::connect(&node);
    peer.queue("dead", None);
    peer.queue("inbox", Some("dead"));
    peer.exchange("jobs");
    peer.bind("inbox", "jobs", "#");
    let broker = start(dir.path(), &node, &SETTINGS);
    peer.publish("jobs", "a", Some("order 7"), "[1, 1.50]");
    peer.publish("jobs", "a", Some("1"), "{\"n\":1");
    peer.publish("jobs", "broker:open", Some("2"), "1");
    peer.publish("jobs", "a b", Some("3"), "1");
    // A used id with another value is refused, with the same value it is a duplicate.
    peer.publish("jobs", "a", Some("order 7"), "2");
    peer.publish("jobs", "a", Some("order 7"), "[1,1.50]");
    // Without an id a duplicate cannot be recognised.
    peer.publish("jobs", "a", None, "3");
    peer.publish("jobs", "a", None, "3");
    let data = eventually("the last is stored", || data(broker.client, "a", 3));
    let texts: Vec<_> = data.iter().map(Value::to_string).collect();
    assert_eq!(texts, ["[1,1.5]", "3", "3"]);
    let dead = peer.take("dead", 4);
    let ids: Vec<_> = dead.iter().map(Message::id).collect();
    assert_eq!(ids, ["1", "2", "3", "order 7"]);
    let reasons = reasons(&broker);
    for (reason, part) in reasons.iter().zip([
        "not acceptable JSON",
        "reserved for the system",
        "its event",
        "already used",
    ]) {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    let records: Value = broker.client.get("/audit/a?limit=1").expect(200).json();
    // PROTOCOL.md defines how an id that is no UUID becomes one.
    assert_eq!(records[0]["id"], "4d9decd0-9860-56fc-812b-2a4420bc8b56");
    let received = |outcome: &str| {
        let name = format!("broker_bridge_received_total{{outcome=\"{outcome}\"}}");
        metric(broker.client, &name)
    };
    wait_until("all are counted", || {
        (received("inserted"), received("known"), received("refused")) == (3.0, 1.0, 4.0)
    });
    broker.stop();
}

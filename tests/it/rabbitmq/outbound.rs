//! Records become messages in RabbitMQ.

use std::collections::HashSet;

use crate::harness::wait::{eventually, wait_until};
use crate::rabbitmq::node::Node;
use crate::rabbitmq::peer::{Message, Peer};
use crate::rabbitmq::{health, insert_many, start, wait_until_sent};

/// The first message of each id, in the order received.
fn without_duplicates(messages: &[Message]) -> Vec<&Message> {
    let mut seen = HashSet::new();
    messages.iter().filter(|message| seen.insert(message.id().to_owned())).collect()
}

#[test]
fn every_record_arrives_in_order_despite_kills_of_either_side() {
    const BATCH: usize = 250;
    let dir = tempfile::tempdir().expect("a directory");
    let mut node = Node::start();
    let peer = Peer::connect(&node);
    peer.exchange("events");
    peer.queue("all", None);
    peer.bind("all", "events", "#");
    let settings = [("EXCHANGE", "events")];
    let mut expected = Vec::new();

    // RabbitMQ is killed while it receives records, and inserts continue without it.
    let broker = start(dir.path(), &node, &settings);
    for batch in 0..4 {
        expected.extend(insert_many(broker.client, "job.run", batch * BATCH, BATCH));
    }
    wait_until("some arrive", || peer.count("all") > 10);
    node.kill();
    drop(peer);
    for batch in 4..8 {
        expected.extend(insert_many(broker.client, "job.run", batch * BATCH, BATCH));
    }
    let out = eventually("the outage is noticed", || {
        let out = health(broker.client)["out"].clone();
        (out["connected"] == false).then_some(out)
    });
    assert!(out["lag"].as_u64() >= Some(4 * BATCH as u64), "{out}");
    broker.client.get("/readyz").expect(200);
    node.restart();
    let peer = Peer::connect(&node);

    // Broker is killed while it catches up.
    wait_until("it is connected again", || health(broker.client)["out"]["connected"] == true);
    for batch in 8..12 {
        expected.extend(insert_many(broker.client, "job.run", batch * BATCH, BATCH));
    }
    broker.kill();
    let broker = start(dir.path(), &node, &settings);
    expected.extend(insert_many(broker.client, "job.run", 12 * BATCH, BATCH));
    wait_until_sent(broker.client);

    let messages = peer.take_all("all");
    let once = without_duplicates(&messages);
    let ids: Vec<_> = once.iter().map(|message| message.id().to_owned()).collect();
    assert_eq!(ids.len(), expected.len(), "of {} messages", messages.len());
    assert!(ids == expected, "in the order of the log");
    assert!(once.is_sorted_by_key(|message| message.seq()));
    let numbers: Vec<_> = once.iter().map(|message| message.json()["data"]["n"].clone()).collect();
    assert!(numbers.iter().enumerate().all(|(index, n)| *n == index), "{numbers:?}");

    // A clean restart sends nothing again.
    broker.stop();
    let broker = start(dir.path(), &node, &settings);
    let last = insert_many(broker.client, "job.run", 13 * BATCH, 1);
    wait_until_sent(broker.client);
    let ids: Vec<_> = peer.take_all("all").iter().map(|message| message.id().to_owned()).collect();
    assert_eq!(ids, last);

    // A connection that is lost while idle is noticed, too.
    node.kill();
    wait_until("the outage is noticed", || health(broker.client)["out"]["connected"] == false);
    broker.stop();
}

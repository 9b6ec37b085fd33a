//! The form of outgoing messages, and both directions at once without loops.

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::wait::{eventually, wait_until};
use crate::harness::wire::Client;
use crate::rabbitmq::node::Node;
use crate::rabbitmq::peer::{Message, Peer};
use crate::rabbitmq::{health, metric, start, wait_until_sent};

/// Counts messages whose record is in the log already.
const KNOWN: &str = "broker_bridge_received_total{outcome=\"known\"}";

#[test]
fn only_selected_records_go_out_and_carry_their_origin() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = Node::start();
    let peer = Peer::connect(&node);
    for exchange in ["public", "everything"] {
        peer.exchange(exchange);
        peer.queue(exchange, None);
        peer.bind(exchange, exchange, "#");
    }
    let filtered = [("EXCHANGE", "public"), ("FILTERS", "note.*")];
    let broker = start(dir.path(), &node, &filtered);
    let client = broker.client;
    let receipt = client.put("note.a", "{\"x\":1.50}");
    client.insert("{\"event\":\"note.a\",\"data\":2,\"to\":\"ann\"}").expect(201);
    client.put("other", "3");
    // More than one AMQP frame holds.
    let long = "x".repeat(300_000);
    client.put("note.b", &format!("\"{long}\""));
    // Until the bridge has read the last record, its lag may still be 0.
    wait_until("the last has arrived", || peer.count("public") >= 2);
    wait_until_sent(client);

    let messages = peer.take_all("public");
    let keys: Vec<_> = messages.iter().map(Message::key).collect();
    assert_eq!(keys, ["note.a", "note.b"]);
    assert!(messages[1].json()["data"] == long, "the large value is complete");
    let message = &messages[0];
    assert_eq!(message.id(), receipt["id"]);
    let record = format!("{},\"data\":{{\"x\":1.50}}}}", receipt.to_string().trim_end_matches('}'));
    assert_eq!(message.json(), serde_json::from_str::<Value>(&record).expect("JSON"));
    assert!(message.body().contains("\"data\":{\"x\":1.50}}"), "{}", message.body());
    let properties = message.properties();
    let text = |text: &str| Some(lapin::types::ShortString::from(text));
    assert_eq!(properties.delivery_mode(), &Some(2));
    assert_eq!(properties.content_type(), &text("application/json"));
    assert_eq!(properties.kind(), &text("broker.record"));
    assert_eq!(properties.app_id(), &text("broker"));
    assert_eq!(message.header("broker-seq"), Some(receipt["seq"].to_string()));
    assert_eq!(message.header("broker-version"), Some("1".to_owned()));
    let log = message.header("broker-log").expect("the id of the log");
    assert!(uuid::Uuid::parse_str(&log).is_ok(), "{log}");

    assert_eq!(health(client)["out"]["connected"], true);
    assert_eq!(health(client).get("in"), None, "inbound is not configured");
    let ready = client.get("/readyz").expect(200);
    assert_eq!(ready.text(), "ok\nrabbitmq out: connected, 0 records behind\n");
    assert_eq!(metric(client, "broker_bridge_sent_total"), 2.0);
    assert_eq!(metric(client, "broker_bridge_connected{way=\"out\"}"), 1.0);
    assert_eq!(metric(client, "broker_bridge_lag"), 0.0);
    let lines = broker.log_lines();
    let logged_seq = |part: &str| {
        let matches = |line: &&Value| {
            let message = line["fields"]["message"].as_str();
            line["fields"]["lag"].is_number() && message.is_some_and(|text| text.contains(part))
        };
        lines.iter().find(matches).map(|line| line["fields"]["seq"].clone())
    };
    assert_eq!(logged_seq("connected to RabbitMQ"), Some(Value::from(0)));
    eventually("it is told", || broker.log().contains("confirmed every record").then_some(()));
    assert!(!broker.log().contains("guest"), "the password in the URL is not logged");
    broker.stop();

    assert_another_exchange_gets_everything(&dir, &node, &peer);
}

/// Another exchange has its own position, so it gets everything from the beginning.
fn assert_another_exchange_gets_everything(dir: &TempDir, node: &Node, peer: &Peer) {
    let all = [("EXCHANGE", "everything"), ("PRIVATE", "true")];
    let broker = start(dir.path(), node, &all);
    wait_until_sent(broker.client);
    let messages = peer.take_all("everything");
    let seen: Vec<_> = messages.iter().map(|message| message.json()["data"].to_string()).collect();
    assert_eq!(seen[..3], ["{\"x\":1.5}", "2", "3"]);
    assert_eq!(seen.len(), 4);
    assert_eq!(messages[1].json()["to"], "ann");
    // Positions are system records in the log.
    let lines = broker.client.lines("/log");
    let positions: Vec<_> = lines.iter().filter(|line| line.contains("broker:bridge.")).collect();
    assert!(positions.iter().any(|line| line.contains("\"event\":\"broker:bridge.public\"")));
    assert!(positions.len() <= 6, "one for several confirmations: {positions:?}");
    broker.stop();
}

#[test]
fn two_brokers_exchange_records_without_loops() {
    let (one_dir, other_dir) =
        (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
    let node = Node::start();
    let peer = Peer::connect(&node);
    peer.exchange("events");
    for queue in ["one", "other", "observer"] {
        peer.queue(queue, None);
        peer.bind(queue, "events", "#");
    }
    let one = start(one_dir.path(), &node, &[("EXCHANGE", "events"), ("QUEUE", "one")]);
    let other = start(other_dir.path(), &node, &[("EXCHANGE", "events"), ("QUEUE", "other")]);
    let receipt = one.client.put("note", "{\"from\":\"one\"}");
    other.client.put("reply", "{\"from\":\"other\"}");
    // A message of a program that is no broker.
    peer.publish("events", "plain", Some("p"), "{\"from\":\"peer\"}");
    let latest = |client: Client| {
        eventually("all three are stored", || {
            let latest = client.get("/latest").expect(200).json();
            let records = latest["records"].as_array().expect("records").clone();
            (records.len() == 3).then_some(records)
        })
    };
    for (broker, own) in [(&one, "note"), (&other, "reply")] {
        for record in latest(broker.client) {
            assert_eq!(record["version"], 1, "{record}");
            let came_in = record["author"] == "broker:rabbitmq";
            assert_eq!(came_in, record["event"] != own, "{record}");
        }
    }
    let there: Value = other.client.get("/audit/note/1").expect(200).json();
    assert_eq!((&there["id"], &there["data"]["from"]), (&receipt["id"], &Value::from("one")));

    // Each has received its own message and recognised it.
    for broker in [&one, &other] {
        wait_until_sent(broker.client);
        wait_until("its own comes back", || metric(broker.client, KNOWN) == 1.0);
        assert_eq!(metric(broker.client, "broker_bridge_sent_total"), 1.0);
    }
    // The two records and the foreign message: nothing was published twice.
    let observed = peer.take_all("observer");
    let keys: Vec<_> = observed.iter().map(Message::key).collect();
    assert_eq!(keys.len(), 3, "{keys:?}");

    // A record that comes back without its headers is recognised by its id.
    let note = observed.iter().find(|message| message.key() == "note").expect("the note");
    peer.publish("events", "note", Some(note.id()), &note.json()["data"].to_string());
    wait_until("it is recognised", || metric(one.client, KNOWN) == 2.0);
    assert_eq!(one.client.get("/audit/note").expect(200).json().as_array().map(Vec::len), Some(1));
    let ready = one.client.get("/readyz").expect(200);
    assert_eq!(
        ready.text(),
        "ok\nrabbitmq out: connected, 0 records behind\nrabbitmq in: connected\n"
    );
    one.stop();
    other.stop();
}

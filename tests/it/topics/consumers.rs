//! Named consumers: acknowledgement, redelivery, and positions in the log.

use std::num::NonZeroUsize;

use serde_json::json;

use crate::harness::server::{Server, small};
use crate::topics::{acknowledge, acknowledgement, consume, positions, post, produce, version};

#[test]
fn unacknowledged_record_is_delivered_again() {
    let server = Server::start();
    let client = server.client();
    (1..=4).for_each(|n| drop(produce(client, "cats", &n.to_string())));
    assert_eq!(consume(client, "cats?consumer=c"), Some(1));
    assert_eq!(consume(client, "cats?consumer=c"), Some(1));
    assert_eq!(acknowledge(client, "cats", 1), Some(2));
    assert_eq!(consume(client, "cats?consumer=c"), Some(2));
    // It acknowledges every version up to that one.
    assert_eq!(acknowledge(client, "cats", 3), Some(4));
    assert_eq!(acknowledge(client, "cats", 4), None);
    produce(client, "cats", "5");
    assert_eq!(consume(client, "cats?consumer=c"), Some(5));
    // Other consumers, and the same name on another topic, have their own positions.
    assert_eq!(consume(client, "cats?consumer=d"), Some(1));
    produce(client, "dogs", "1");
    assert_eq!(consume(client, "dogs?consumer=c"), Some(1));
    assert_eq!(acknowledge(client, "dogs", 1), None);
}

#[test]
fn older_or_repeated_acknowledgement_changes_nothing() {
    let server = Server::start();
    let client = server.client();
    (1..=4).for_each(|n| drop(produce(client, "cats", &n.to_string())));
    for ack in [3, 3, 2, 0, 1, 3] {
        assert_eq!(acknowledge(client, "cats", ack), Some(4), "{ack}");
    }
    assert_eq!(positions(client).len(), 1);
    let server = server.restart();
    assert_eq!(acknowledge(server.client(), "cats", 2), Some(4));
    assert_eq!(positions(server.client()).len(), 1);
}

#[test]
fn future_version_cannot_be_acknowledged() {
    let server = Server::start();
    let client = server.client();
    produce(client, "cats", "1");
    for (topic, latest) in [("cats", 1), ("nothing", 0)] {
        let answer = post(client, topic, &acknowledgement("c", 2));
        let problem = answer.problem(422, "ack-too-new");
        assert_eq!(problem["newest_version"], latest);
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains(&format!("the latest version is {latest}")), "{detail}");
    }
    assert_eq!(consume(client, "cats?consumer=c"), Some(1), "nothing was acknowledged");
    assert!(positions(client).is_empty());
}

/// The log shows which consumer acknowledged which version, and when.
#[test]
fn acknowledgement_is_a_system_record_and_only_in_the_log() {
    let server = Server::start();
    let client = server.client();
    let mut stream = server.events("?replay=all");
    stream.until_synced();
    produce(client, "cats", "1");
    produce(client, "cats", "2");
    let long = "x".repeat(255);
    produce(client, &long, "1");
    let events = client.get("/health").json()["events"].clone();
    acknowledge(client, "cats", 1);
    acknowledge(client, "cats", 2);
    acknowledge(client, &long, 1);

    let found = positions(client);
    let names: Vec<_> = found.iter().map(|record| record["event"].as_str()).collect();
    let short = Some("broker:consumer.c.cats");
    assert_eq!(names[..2], [short, short]);
    let digest = names[2].and_then(|name| name.strip_prefix("broker:consumer.c.broker:"));
    assert_eq!(digest.map(str::len), Some(64));
    for (record, (topic, version)) in found.iter().zip([("cats", 1), ("cats", 2), (&long, 1)]) {
        let data = json!({"topic": topic, "consumer": "c", "version": version});
        assert_eq!(record["data"], data);
        assert!(record["timestamp"].is_string() && record["hash"].is_string());
        assert!(record.get("to").is_none());
    }
    let versions: Vec<_> = found.iter().map(|record| record["version"].as_u64()).collect();
    assert_eq!(versions, [Some(1), Some(2), Some(1)]);

    // It is on no stream, in no list and in no count, and no client can name it.
    produce(client, "cats", "3");
    let seen: Vec<_> = (0..4).map(|_| stream.block()).collect();
    assert!(seen.iter().all(|block| !block.data.contains("broker:consumer")), "{seen:?}");
    for target in ["/latest", "/latest?event=%3E", "/audit", "/audit?event=%3E"] {
        assert!(!client.get(target).expect(200).text().contains("broker:"), "{target}");
    }
    for target in ["/audit/broker:consumer.c.cats", "/audit/broker:consumer.c.cats/1"] {
        client.get(target).problem(400, "malformed-name");
    }
    client.get("/events?event=broker:consumer.c.cats").problem(400, "malformed-query");
    let forged = "{\"event\":\"broker:consumer.c.cats\",\"data\":1}";
    client.insert(forged).problem(422, "invalid-event");
    assert_eq!(client.get("/health").json()["events"], events);
    let metrics = client.get("/metrics").expect(200).text().to_owned();
    assert!(metrics.lines().any(|line| line == "broker_consumers 2"), "{metrics}");
    assert!(metrics.lines().any(|line| line == "broker_consumed_total 1"), "{metrics}");
}

#[test]
fn new_consumer_beyond_the_limit_is_507_even_after_a_restart() {
    let two = NonZeroUsize::new(2).expect("not zero");
    let server = Server::with(small().max_consumers(two));
    let client = server.client();
    (1..=3).for_each(|n| drop(produce(client, "cats", &n.to_string())));
    produce(client, "dogs", "1");
    // A consumer that has acknowledged nothing does not count.
    for name in ["a", "b", "c", "d"] {
        assert_eq!(consume(client, &format!("cats?consumer={name}")), Some(1));
    }
    for name in ["a", "b"] {
        assert_eq!(version(post(client, "cats", &acknowledgement(name, 1))), Some(2));
    }
    let full = |server: &Server, ack: u64| {
        let client = server.client();
        for answer in [
            post(client, "cats", &acknowledgement("c", 1)),
            client.get("/consume/cats?consumer=c"),
            post(client, "dogs", &acknowledgement("a", 1)),
        ] {
            let problem = answer.problem(507, "too-many-consumers");
            assert!(problem["detail"].as_str().expect("text").contains("limit of 2"), "{problem}");
        }
        let next = version(post(client, "cats", &acknowledgement("a", ack)));
        assert_eq!(next, (ack < 3).then_some(ack + 1));
        assert_eq!(consume(client, "cats"), Some(1), "without a name there is no limit");
    };
    full(&server, 2);
    let server = server.restart();
    full(&server, 3);
    assert_eq!(consume(server.client(), "cats?consumer=b"), Some(2));
}

#[test]
fn racing_acknowledgements_never_move_a_position_backwards() {
    let server = Server::start();
    let client = server.client();
    (1..=40).for_each(|n| drop(produce(client, "cats", &n.to_string())));
    std::thread::scope(|scope| {
        for start in 1..=4 {
            scope.spawn(move || {
                for ack in (start..=40).step_by(4) {
                    let next = acknowledge(client, "cats", ack);
                    assert!(next.is_none_or(|next| next > ack), "{next:?} after {ack}");
                }
            });
        }
    });
    assert_eq!(consume(client, "cats?consumer=c"), None);
    let found = positions(client);
    let versions = found.iter().map(|record| record["data"]["version"].as_u64().expect("one"));
    let versions: Vec<_> = versions.collect();
    assert!(versions.is_sorted_by(|one, two| one < two), "{versions:?}");
    assert_eq!(versions.last(), Some(&40));
}

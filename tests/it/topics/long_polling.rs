//! `wait`: long polling, answered as soon as there is a record.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use crate::harness::server::{Server, small};
use crate::harness::wait::wait_until;
use crate::harness::wire::{Connection, request};
use crate::topics::{JSON, acknowledgement, consume, positions, post, produce};

/// Sends the request and does not wait for the answer.
fn ask(server: &Server, target: &str) -> Connection {
    let mut connection = server.connect();
    connection.send(request("GET", &format!("/consume/{target}"), &[], b""));
    connection
}

/// Sends an acknowledgement of the consumer `c` that waits up to 60 s for the next record, and does
/// not wait for the answer.
fn ask_after(server: &Server, topic: &str, ack: u64) -> Connection {
    let mut connection = server.connect();
    let body = waiting_acknowledgement(ack);
    connection.send(request("POST", &format!("/consume/{topic}"), &[JSON], body.as_bytes()));
    connection
}

fn waiting_acknowledgement(ack: u64) -> String {
    format!("{{\"consumer\":\"c\",\"ack\":{ack},\"wait\":60}}")
}

/// Waits until `count` requests are waiting.
fn wait_for(server: &Server, count: u64) {
    server.client().wait_for_streams(count);
}

#[test]
fn waiting_request_is_answered_by_the_next_record_of_its_topic() {
    let server = Server::start();
    let client = server.client();
    produce(client, "cats", "1");
    let mut asked = [
        ask(&server, "cats?after=1&wait=60"),
        ask_after(&server, "cats", 1),
        ask(&server, "dogs?wait=60"),
    ];
    wait_for(&server, 3);
    // Neither of these answers a waiting request.
    produce(client, "birds", "1");
    client.insert("{\"event\":\"cats\",\"data\":\"thesecret\",\"to\":\"ann\"}").expect(201);
    assert_eq!(client.get("/health").json()["streams"], 3);
    let before = Instant::now();
    produce(client, "cats", "2");
    for connection in &mut asked[..2] {
        let answer = connection.answer("GET").expect("an answer").expect(200);
        assert_eq!((&answer.json()["version"], &answer.json()["data"]), (&2.into(), &2.into()));
    }
    produce(client, "dogs", "3");
    let answer = asked[2].answer("GET").expect("an answer").expect(200);
    assert_eq!(answer.json()["data"], 3);
    assert!(before.elapsed() < Duration::from_secs(30), "nobody waited to the end");
    wait_for(&server, 0);
    // It is not acknowledged, so it is delivered again immediately.
    assert_eq!(consume(client, "cats?consumer=c&wait=60"), Some(2));
}

#[test]
fn expired_wait_is_204() {
    let server = Server::start();
    let before = Instant::now();
    assert_eq!(consume(server.client(), "cats?wait=1"), None);
    assert!(before.elapsed() >= Duration::from_secs(1), "{:?}", before.elapsed());
}

#[test]
fn wait_after_a_future_version_returns_the_one_after_it() {
    let server = Server::start();
    let client = server.client();
    let mut asked = ask(&server, "cats?after=2&wait=60");
    wait_for(&server, 1);
    (1..=3).for_each(|n| drop(produce(client, "cats", &n.to_string())));
    assert_eq!(asked.answer("GET").expect("an answer").expect(200).json()["version"], 3);
}

#[test]
fn second_worker_of_a_waiting_consumer_is_409() {
    let server = Server::start();
    let client = server.client();
    produce(client, "cats", "1");
    let mut first = ask_after(&server, "cats", 1);
    wait_for(&server, 1);
    for answer in [
        client.get("/consume/cats?consumer=c&wait=60"),
        client.get("/consume/cats?consumer=c&wait=0"),
        post(client, "cats", &acknowledgement("c", 1)),
    ] {
        let problem = answer.problem(409, "consumer-busy");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains("use another consumer"), "{detail}");
    }
    // Other consumers and topics are not affected.
    assert_eq!(consume(client, "cats?consumer=d"), Some(1));
    assert_eq!(consume(client, "dogs?consumer=c"), None);
    assert_eq!(consume(client, "cats"), Some(1));
    produce(client, "cats", "2");
    assert_eq!(first.answer("GET").expect("an answer").expect(200).json()["version"], 2);
    assert_eq!(consume(client, "cats?consumer=c&wait=60"), Some(2));
    assert_eq!(positions(client).len(), 1);
}

#[test]
fn refused_second_worker_acknowledges_nothing() {
    let server = Server::start();
    let client = server.client();
    let mut first = ask(&server, "cats?consumer=c&after=&wait=60");
    wait_for(&server, 1);
    let mut other = ask(&server, "cats?after=5&wait=60");
    wait_for(&server, 2);
    post(client, "cats", &acknowledgement("c", 0)).problem(409, "consumer-busy");
    assert!(positions(client).is_empty());
    (1..=6).for_each(|n| drop(produce(client, "cats", &n.to_string())));
    assert_eq!(first.answer("GET").expect("an answer").expect(200).json()["version"], 1);
    assert_eq!(other.answer("GET").expect("an answer").expect(200).json()["version"], 6);
    assert_eq!(consume(client, "cats?consumer=c"), Some(1));
}

/// Also for a topic with the name of another route.
#[test]
fn disconnected_worker_frees_its_consumer_name() {
    let server = Server::start();
    for (topic, acknowledges) in [("cats", false), ("cats", true), ("events", false)] {
        let gone = match acknowledges {
            true => ask_after(&server, topic, 0),
            false => ask(&server, &format!("{topic}?consumer=c&wait=60")),
        };
        wait_for(&server, 1);
        drop(gone);
        wait_until("its name is free", || {
            let answer = server.client().get(&format!("/consume/{topic}?consumer=c"));
            answer.status == 204
        });
        wait_for(&server, 0);
    }
}

#[test]
fn shutdown_ends_waiting_requests_with_503() {
    let mut server = Server::start();
    let mut asked = ["cats?wait=60", "cats?consumer=c&wait=60"].map(|target| ask(&server, target));
    wait_for(&server, 2);
    let before = Instant::now();
    server.begin_stop();
    for connection in &mut asked {
        let answer = connection.answer("GET").expect("an answer");
        answer.problem(503, "shutting-down");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    server.stop();
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
}

#[test]
fn waiting_requests_count_as_streams() {
    let server = Server::with(small().max_streams(NonZeroUsize::MIN));
    let client = server.client();
    let mut first = ask(&server, "cats?wait=60");
    wait_for(&server, 1);
    client.get("/consume/cats?wait=60").problem(503, "too-many-streams");
    client.get("/consume/cats?consumer=c&wait=60").problem(503, "too-many-streams");
    produce(client, "birds", "1");
    let body = waiting_acknowledgement(1);
    post(client, "birds", &body).problem(503, "too-many-streams");
    assert_eq!(consume(client, "birds?consumer=c"), None, "the acknowledgement stands");
    // A request that need not wait takes no slot.
    produce(client, "dogs", "1");
    assert_eq!(consume(client, "dogs?wait=60"), Some(1));
    assert_eq!(consume(client, "cats"), None);
    produce(client, "cats", "1");
    first.answer("GET").expect("an answer").expect(200);
}

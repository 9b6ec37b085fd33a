//! `GET /subscribe/{topic}`: bare values.

use std::time::Duration;

use serde_json::Value;

use crate::harness::server::{Server, small};
use crate::harness::socket::{Socket, refused};

#[test]
fn latest_value_comes_first_then_every_new_one_bare() {
    let server = Server::start();
    server.client().put("news", "\"old\"");
    server.client().put("news", "\"a\\u00e9\\n\\\"x\\\" 🦀\"");
    server.client().put("other", "1");
    let mut socket = Socket::open(&server, "/subscribe/news");
    assert_eq!(socket.text(), "aé\n\"x\" 🦀", "a string arrives as its text");
    for (data, text) in [
        ("{ \"x\" : 1e5 }", "{\"x\":1e5}"),
        ("[1, \"a\"]", "[1,\"a\"]"),
        ("0.1000000000000000055", "0.1000000000000000055"),
        ("null", "null"),
        ("true", "true"),
        ("\"\"", ""),
        ("\"null\"", "null"),
    ] {
        server.client().put("other", data);
        server.client().put("news", data);
        assert_eq!(socket.text(), text);
    }
}

#[test]
fn format_record_sends_whole_records() {
    let server = Server::start();
    server.client().put("a.b", "{\"x\":1}");
    let mut socket = Socket::open(&server, "/subscribe/a.b?format=record");
    let data = server.events("").block().data;
    assert_eq!(socket.text(), data);
    server.client().put("a.b", "2");
    let record: Value = socket.json();
    assert_eq!((&record["version"], &record["data"]), (&2.into(), &2.into()));
}

#[test]
fn socket_on_a_new_topic_waits_for_its_first_value() {
    let server = Server::start();
    let mut socket = Socket::open(&server, "/subscribe/later");
    socket.send("ping");
    assert_eq!(socket.text(), "pong", "nothing is sent before the first value");
    server.client().put("later", "1");
    assert_eq!(socket.text(), "1");
}

/// Regression: `synced` sends nothing on these sockets, and the first value after it was only sent
/// with the next ping.
#[test]
fn silent_client_gets_a_value_immediately() {
    let server = Server::with(small().heartbeat(Duration::from_secs(600)));
    let mut sockets: Vec<_> = (0..20).map(|_| Socket::open(&server, "/subscribe/later")).collect();
    server.client().put("later", "1");
    for socket in &mut sockets {
        assert_eq!(socket.text(), "1");
    }
}

#[test]
fn topic_is_one_exact_percent_encoded_name() {
    let server = Server::start();
    server.client().put("größe.東京", "\"here\"");
    let encoded = "/subscribe/gr%C3%B6%C3%9Fe.%E6%9D%B1%E4%BA%AC";
    assert_eq!(Socket::open(&server, encoded).text(), "here");
    for topic in ["a.*", "%3E", "a..b", "%ff", "a%2Fb", "%0d%0a", "broker:open", "open", "%20"] {
        refused(server.address, &format!("/subscribe/{topic}"), &[]).problem(400, "malformed-name");
    }
    refused(server.address, "/subscribe/", &[]).problem(404, "not-found");
}

#[test]
fn only_ping_is_accepted() {
    let server = Server::start();
    let mut socket = Socket::open(&server, "/subscribe/a");
    for message in ["{\"insert\":{\"event\":\"a\",\"data\":1}}", "{\"topics\":[\"b\"]}", "hello"] {
        assert_eq!(socket.ask(message)["problem"]["code"], "malformed-message");
    }
    socket.send("ping");
    assert_eq!(socket.text(), "pong");
    server.client().get("/audit/a").problem(404, "unknown-event");
}

#[test]
fn private_values_of_the_topic_are_not_sent() {
    let server = Server::start();
    server.client().insert("{\"event\":\"a\",\"data\":\"secret\",\"to\":\"bob\"}").expect(201);
    let mut socket = Socket::open(&server, "/subscribe/a");
    server.client().insert("{\"event\":\"a\",\"data\":\"secret\",\"to\":\"bob\"}").expect(201);
    server.client().put("a", "\"public\"");
    assert_eq!(socket.text(), "public");
}

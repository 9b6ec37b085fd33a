//! `GET /ws/{uuid}`: sockets of registered clients.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use crate::harness::relay::{publish, register};
use crate::harness::server::{Server, small};
use crate::harness::socket::{CloseReason, Socket, refused};
use crate::harness::wait::wait_until;
use crate::relay::{delete, registration};

fn say(server: &Server, topic: &str, message: &str) {
    publish(server, &format!("{{\"topic\":\"{topic}\",\"message\":{message}}}"));
}

fn say_to(server: &Server, user: &str, topic: &str, message: &str) {
    let body = format!("{{\"topic\":\"{topic}\",\"message\":{message},\"user_id\":{user}}}");
    publish(server, &body);
}

/// Registers and connects a client of `user` with `topics`.
fn client(server: &Server, user: &str, topics: &str) -> Socket {
    let body = format!("{{\"user_id\":{user},\"topics\":{topics}}}");
    Socket::open(server, &register(server, &body))
}

/// Everything received before the answer to a ping, which is sent as a delimiter.
fn before_pong(socket: &mut Socket) -> Vec<String> {
    socket.send("ping");
    std::iter::from_fn(|| Some(socket.text()).filter(|text| text != "pong")).collect()
}

/// Asserts that the next message is one that is sent now, so that no other was pending.
#[track_caller]
fn assert_nothing_before(server: &Server, socket: &mut Socket, topic: &str) {
    say(server, topic, "\"nothing but this\"");
    assert_eq!(socket.text(), "nothing but this");
}

/// Changes the topics and waits until the server has read the change.
fn change_topics(socket: &mut Socket, topics: &str) {
    socket.send(format!("{{\"topics\":{topics}}}"));
    assert_eq!(before_pong(socket), [""; 0]);
}

#[test]
fn messages_arrive_bare_strings_as_text_and_the_rest_as_json() {
    let server = Server::start();
    let mut socket = client(&server, "1", "[\"cats\"]");
    for (message, bare) in [
        ("\"hello\"", "hello"),
        ("\"a \\\"quoted\\\" \\u00fc\\n\"", "a \"quoted\" ü\n"),
        ("\"\"", ""),
        ("{ \"n\" : 1.50 }", "{\"n\":1.50}"),
        ("12345678901234567890", "12345678901234567890"),
        ("[1,\"a\"]", "[1,\"a\"]"),
        ("null", "null"),
    ] {
        say(&server, "cats", message);
        assert_eq!(socket.text(), bare);
    }
}

#[test]
fn format_record_sends_whole_records() {
    let server = Server::start();
    let path = register(&server, "{\"user_id\":\"ann\",\"topics\":[\"cats\"]}");
    let mut socket = Socket::open(&server, &format!("{path}?format=record"));
    say(&server, "cats", "\"hello\"");
    let latest = server.client().get("/latest").expect(200);
    let record = socket.text();
    assert!(latest.text().contains(&record), "{record}");
    say_to(&server, "\"ann\"", "cats", "\"psst\"");
    let private = socket.json();
    assert_eq!((&private["to"], &private["version"]), (&"ann".into(), &1.into()));
    let answer = refused(server.address, &format!("{path}?format=json"), &[]);
    answer.problem(400, "malformed-query");
}

#[test]
fn client_gets_every_message_since_its_registration_and_none_before() {
    let server = Server::start();
    say(&server, "cats", "\"before\"");
    let path = register(&server, "{\"user_id\":1,\"topics\":[\"cats\"]}");
    for message in ["\"one\"", "\"two\"", "\"three\""] {
        say(&server, "cats", message);
    }
    let mut socket = Socket::open(&server, &path);
    say(&server, "cats", "\"four\"");
    // Unlike on a stream of latest values, a message is not superseded by the next one.
    let all: Vec<_> = (0..4).map(|_| socket.text()).collect();
    assert_eq!(all, ["one", "two", "three", "four"]);
    assert_nothing_before(&server, &mut socket, "cats");
}

#[test]
fn inserts_are_relayed_as_messages() {
    let server = Server::start();
    let mut socket = client(&server, "1", "[\"cats\"]");
    server.client().put("cats", "\"inserted\"");
    assert_eq!(socket.text(), "inserted");
    let body = "{\"event\":\"cats\",\"data\":\"for one\",\"to\":\"1\"}";
    server.client().insert(body).expect(201);
    assert_eq!(socket.text(), "for one");
}

#[test]
fn client_without_topics_gets_nothing_until_it_sets_some() {
    let server = Server::start();
    for topics in ["", ",\"topics\":[]"] {
        let path = register(&server, &format!("{{\"user_id\":1{topics}}}"));
        let mut socket = Socket::open(&server, &path);
        say(&server, "cats", "1");
        say_to(&server, "1", "cats", "2");
        assert_eq!(before_pong(&mut socket), [""; 0]);
        change_topics(&mut socket, "[\"cats\"]");
        say(&server, "cats", "3");
        assert_eq!(socket.text(), "3");
    }
}

#[test]
fn changed_topics_apply_from_then_on() {
    let server = Server::start();
    let mut socket = client(&server, "1", "[\"cats\"]");
    say(&server, "dogs", "\"too early\"");
    change_topics(&mut socket, "[\"cats\",\"dogs\"]");
    say(&server, "dogs", "\"dog\"");
    say(&server, "cats", "\"cat\"");
    assert_eq!((socket.text(), socket.text()), ("dog".to_owned(), "cat".to_owned()));
    change_topics(&mut socket, "[\"dogs\"]");
    say(&server, "cats", "\"unheard\"");
    say(&server, "dogs", "\"dog again\"");
    assert_eq!(socket.text(), "dog again");
    change_topics(&mut socket, "[]");
    say(&server, "dogs", "\"unheard\"");
    change_topics(&mut socket, "[\"dogs\"]");
    say(&server, "dogs", "\"the last\"");
    assert_eq!(socket.text(), "the last");
}

#[test]
fn topics_may_be_filters() {
    let server = Server::start();
    let mut socket = client(&server, "1", "[\"pets.*\",\"news.>\"]");
    for topic in ["pets", "pets.cats", "pets.cats.old", "news.a.b", "weather"] {
        say(&server, topic, &format!("\"{topic}\""));
    }
    assert_eq!((socket.text(), socket.text()), ("pets.cats".to_owned(), "news.a.b".to_owned()));
    assert_nothing_before(&server, &mut socket, "news.a");
}

#[test]
fn message_reaches_every_subscriber_or_every_client_of_one_user() {
    let server = Server::start();
    let mut ann = client(&server, "\"ann\"", "[\"cats\",\"dogs\"]");
    let mut ann_too = client(&server, "\"ann\"", "[\"cats\"]");
    let mut ann_elsewhere = client(&server, "\"ann\"", "[\"dogs\"]");
    let mut ben = client(&server, "2", "[\"cats\",\"dogs\"]");
    say(&server, "cats", "\"all\"");
    say_to(&server, "\"ann\"", "cats", "\"ann's\"");
    say_to(&server, "\"2\"", "cats", "\"ben's\"");
    say(&server, "cats", "\"end\"");
    for socket in [&mut ann, &mut ann_too] {
        let heard: Vec<_> = (0..3).map(|_| socket.text()).collect();
        assert_eq!(heard, ["all", "ann's", "end"]);
    }
    let heard: Vec<_> = (0..3).map(|_| ben.text()).collect();
    assert_eq!(heard, ["all", "ben's", "end"]);
    assert_nothing_before(&server, &mut ann_elsewhere, "dogs");
}

#[test]
fn ping_is_answered_with_pong() {
    let server = Server::start();
    let mut socket = client(&server, "1", "[]");
    for ping in ["ping", "ping\n", "ping\r\n"] {
        socket.send(ping);
        assert_eq!(socket.text(), "pong");
    }
}

#[test]
fn invalid_message_gets_a_problem_and_changes_nothing() {
    let server = Server::start();
    let mut socket = client(&server, "1", "[\"cats\"]");
    for (text, code, said) in [
        ("hello", "malformed-json", "line 1"),
        ("{}", "malformed-message", "missing field `topics`"),
        ("[\"cats\"]", "malformed-message", "an object with topics"),
        ("{\"topics\":\"cats\"}", "malformed-message", "topics: "),
        ("{\"topics\":[\"a b\"]}", "malformed-message", "topics: filter 1: "),
        ("{\"topics\":null}", "malformed-message", "topics: "),
        ("{\"topics\":[],\"user_id\":2}", "malformed-message", "unknown field `user_id`"),
        (
            "{\"insert\":{\"event\":\"a\",\"data\":1}}",
            "malformed-message",
            "unknown field `insert`",
        ),
    ] {
        let problem = socket.ask(text)["problem"].clone();
        let detail = problem["detail"].as_str().expect("a detail");
        assert_eq!(problem["code"], code, "{text}: {problem}");
        assert!(detail.contains(said), "{text}: {detail}");
    }
    say(&server, "cats", "\"still here\"");
    assert_eq!(socket.text(), "still here");
}

#[test]
fn unregistered_id_is_404_whatever_it_looks_like() {
    let server = Server::start();
    for id in [Uuid::new_v4().to_string(), Uuid::nil().to_string(), "secret".to_owned()] {
        let answer = refused(server.address, &format!("/ws/{id}"), &[]);
        let problem = answer.problem(404, "unknown-registration");
        assert!(!problem.to_string().contains(&id), "{problem}");
        server.client().get(&format!("/ws/{id}")).problem(404, "unknown-registration");
    }
    // A registered id without a WebSocket handshake.
    let path = register(&server, "{\"user_id\":1}");
    let answer = server.client().get(&path);
    answer.problem(426, "upgrade-required");
}

#[test]
fn deleting_a_registration_closes_its_socket_with_1000() {
    let server = Server::start();
    let path = register(&server, "{\"user_id\":1,\"topics\":[\"cats\"]}");
    let mut socket = Socket::open(&server, &path);
    delete(&server, &registration(&path)).expect(204);
    assert_eq!(socket.end(), Some((1000, "the registration was deleted".to_owned())));
    refused(server.address, &path, &[]).problem(404, "unknown-registration");
    delete(&server, &registration(&path)).problem(404, "unknown-registration");
}

#[test]
fn second_connection_takes_over_where_the_first_stopped() {
    let server = Server::start();
    let path = register(&server, "{\"user_id\":1,\"topics\":[\"cats\"]}");
    let mut first = Socket::open(&server, &path);
    say(&server, "cats", "1");
    assert_eq!(first.text(), "1");
    change_topics(&mut first, "[\"cats\",\"dogs\"]");
    let mut second = Socket::open(&server, &path);
    let taken_over: CloseReason =
        Some((4001, "another connection took over the registration".to_owned()));
    assert_eq!(first.end(), taken_over);
    say(&server, "dogs", "2");
    assert_eq!(second.text(), "2");
    assert_nothing_before(&server, &mut second, "cats");
}

#[test]
fn reconnecting_client_gets_missed_messages_once() {
    let server = Server::start();
    let path = register(&server, "{\"user_id\":1,\"topics\":[\"cats\"]}");
    let mut socket = Socket::open(&server, &path);
    say(&server, "cats", "1");
    assert_eq!(socket.text(), "1");
    change_topics(&mut socket, "[\"dogs\"]");
    socket.close();
    for message in ["2", "3"] {
        say(&server, "cats", "\"unheard\"");
        say(&server, "dogs", message);
    }
    let mut socket = Socket::open(&server, &path);
    assert_eq!((socket.text(), socket.text()), ("2".to_owned(), "3".to_owned()));
    assert_nothing_before(&server, &mut socket, "dogs");
}

#[test]
fn registration_expires_when_its_client_stays_away() {
    let server = Server::with(small().registration_expiry(Duration::from_secs(2)));
    let path = register(&server, "{\"user_id\":1,\"topics\":[\"cats\"]}");
    let mut socket = Socket::open(&server, &path);
    say(&server, "cats", "1");
    assert_eq!(socket.text(), "1");
    socket.close();
    wait_until("the registration expires", || {
        refused(server.address, &path, &["Origin: https://evil.example"]).status == 404
    });
    delete(&server, &registration(&path)).problem(404, "unknown-registration");
}

/// The window and the buffers of the socket are small, so a client that does not read falls far
/// behind.
#[test]
fn lagging_client_gets_every_message() {
    const MESSAGES: usize = 6_000;
    let server = Server::with(small().window_bytes(64 << 10));
    let mut socket = client(&server, "1", "[\"cats\"]");
    let text = "x".repeat(2_000);
    for first in (0..MESSAGES).step_by(500) {
        let event = |n| format!("{{\"event\":\"cats\",\"data\":[{n},\"{text}\"]}}");
        let batch: Vec<_> = (first..first + 500).map(event).collect();
        server.client().insert(format!("[{}]", batch.join(","))).expect(201);
    }
    for n in 0..MESSAGES {
        assert_eq!(socket.json()[0], n);
    }
}

#[test]
fn restart_forgets_all_registrations() {
    let server = Server::start();
    let path = register(&server, "{\"user_id\":1,\"topics\":[\"cats\"]}");
    let mut socket = Socket::open(&server, &path);
    let server = server.restart();
    let (code, reason) = socket.end().expect("a close frame");
    assert_eq!(code, 1001);
    assert!(reason.starts_with("retry:"), "{reason}");
    refused(server.address, &path, &[]).problem(404, "unknown-registration");
}

#[test]
fn relay_sockets_count_against_the_stream_limit() {
    let server = Server::with(small().max_streams(NonZeroUsize::MIN));
    let socket = client(&server, "1", "[]");
    assert_eq!(server.client().streams(), 1);
    let path = register(&server, "{\"user_id\":1}");
    refused(server.address, &path, &[]).problem(503, "too-many-streams");
    socket.close();
    server.client().wait_for_streams(0);
    let mut socket = Socket::open(&server, &path);
    assert_eq!(before_pong(&mut socket), [""; 0]);
    // A connection that would take over is refused, too, and the first one stays open.
    refused(server.address, &path, &[]).problem(503, "too-many-streams");
    change_topics(&mut socket, "[\"cats\"]");
    say(&server, "cats", "1");
    assert_eq!(socket.text(), "1");
}

#[test]
fn sockets_of_one_user_are_limited() {
    let server = Server::with(small().max_streams_per_user(NonZeroUsize::MIN));
    let mut ann = client(&server, "\"ann\"", "[\"cats\"]");
    let second = register(&server, "{\"user_id\":\"ann\"}");
    refused(server.address, &second, &[]).problem(429, "too-many-streams-for-user");
    let mut bob = client(&server, "\"bob\"", "[\"cats\"]");
    say(&server, "cats", "1");
    assert_eq!((ann.text(), bob.text()), ("1".to_owned(), "1".to_owned()));
    ann.close();
    server.client().wait_for_streams(1);
    Socket::open(&server, &second);
}

/// Regression: each change of topics started an unbounded read of the log in a new task.
#[test]
fn flood_of_topic_changes_does_not_exhaust_the_server() {
    let server = Server::start();
    let path = register(&server, "{\"user_id\":1,\"topics\":[\"cats\"]}");
    (0..400).for_each(|n| say(&server, "dogs", &format!("\"{n} {}\"", "x".repeat(2_000))));
    let mut socket = Socket::open(&server, &path);
    for _ in 0..10_000 {
        socket.send("{\"topics\":[\"cats\"]}");
    }
    let threads = std::fs::read_dir("/proc/self/task").expect("this is Linux").count();
    assert!(threads < 100, "{threads} threads");
    assert_eq!(before_pong(&mut socket), [""; 0]);
    say(&server, "cats", "1");
    assert_eq!(socket.text(), "1");
}

#[test]
fn metrics_count_registrations() {
    let server = Server::start();
    let gauge = || {
        let text = server.client().get("/metrics").expect(200).text().to_owned();
        let line = text.lines().find(|line| line.starts_with("broker_registrations "));
        line.expect("the gauge").to_owned()
    };
    let path = register(&server, "{\"user_id\":1}");
    assert_eq!(gauge(), "broker_registrations 1");
    delete(&server, &registration(&path)).expect(204);
    assert_eq!(gauge(), "broker_registrations 0");
}

/// A private record between two public ones, sent as records.
#[test]
fn relayed_records_have_the_seq_and_id_of_their_receipts() {
    let server = Server::start();
    let path = register(&server, "{\"user_id\":1,\"topics\":[\">\"]}");
    let mut socket = Socket::open(&server, &format!("{path}?format=record"));
    let receipts: Vec<Value> = [
        "{\"topic\":\"a\",\"message\":1}",
        "{\"topic\":\"b\",\"message\":2,\"user_id\":1}",
        "{\"topic\":\"a\",\"message\":3}",
    ]
    .map(|body| publish(&server, body))
    .into();
    for receipt in receipts {
        let record = socket.json();
        assert_eq!((&record["seq"], &record["id"]), (&receipt["seq"], &receipt["id"]));
    }
}

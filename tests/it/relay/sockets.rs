//! `GET /ws/{uuid}`.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::{delete, publish, register, registration};
use crate::harness::server::{Server, small};
use crate::harness::socket::{End, Socket, refused};
use crate::harness::wire::eventually;

fn say(server: &Server, topic: &str, message: &str) {
    publish(server, &format!("{{\"topic\":\"{topic}\",\"message\":{message}}}"));
}

fn say_to(server: &Server, user: &str, topic: &str, message: &str) {
    let body = format!("{{\"topic\":\"{topic}\",\"message\":{message},\"user_id\":{user}}}");
    publish(server, &body);
}

/// Connects a client of this user with these topics.
fn client(server: &Server, user: &str, topics: &str) -> Socket {
    let body = format!("{{\"user_id\":{user},\"topics\":{topics}}}");
    Socket::open(server, &register(server, &body))
}

/// What came up to now: everything before the answer to a ping, which the client sends as a mark.
fn before_pong(socket: &mut Socket) -> Vec<String> {
    socket.send("ping");
    std::iter::from_fn(|| Some(socket.text()).filter(|text| text != "pong")).collect()
}

/// What comes next is what is said next: nothing else was on its way.
#[track_caller]
fn nothing_but(server: &Server, socket: &mut Socket, topic: &str) {
    say(server, topic, "\"nothing but this\"");
    assert_eq!(socket.text(), "nothing but this");
}

/// Changes the topics, and waits until the server has read that.
fn change(socket: &mut Socket, topics: &str) {
    socket.send(format!("{{\"topics\":{topics}}}"));
    assert_eq!(before_pong(socket), [""; 0]);
}

#[test]
fn messages_arrive_bare_a_string_as_its_text_and_anything_else_as_json() {
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
fn format_record_gives_the_records_as_they_stand_everywhere_else() {
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
fn a_client_gets_every_message_since_it_registered_and_none_from_before() {
    let server = Server::start();
    say(&server, "cats", "\"before\"");
    let path = register(&server, "{\"user_id\":1,\"topics\":[\"cats\"]}");
    for message in ["\"one\"", "\"two\"", "\"three\""] {
        say(&server, "cats", message);
    }
    let mut socket = Socket::open(&server, &path);
    say(&server, "cats", "\"four\"");
    // The newest value alone would be enough for a page; a message is not superseded by the next.
    let all: Vec<_> = (0..4).map(|_| socket.text()).collect();
    assert_eq!(all, ["one", "two", "three", "four"]);
    nothing_but(&server, &mut socket, "cats");
}

#[test]
fn whatever_comes_in_by_another_way_is_a_message_too() {
    let server = Server::start();
    let mut socket = client(&server, "1", "[\"cats\"]");
    server.client().put("cats", "\"inserted\"");
    assert_eq!(socket.text(), "inserted");
    let body = "{\"event\":\"cats\",\"data\":\"for one\",\"to\":\"1\"}";
    server.client().insert(body).expect(201);
    assert_eq!(socket.text(), "for one");
}

#[test]
fn a_client_without_topics_gets_nothing_until_it_names_some() {
    let server = Server::start();
    for topics in ["", ",\"topics\":[]"] {
        let path = register(&server, &format!("{{\"user_id\":1{topics}}}"));
        let mut socket = Socket::open(&server, &path);
        say(&server, "cats", "1");
        say_to(&server, "1", "cats", "2");
        assert_eq!(before_pong(&mut socket), [""; 0]);
        change(&mut socket, "[\"cats\"]");
        say(&server, "cats", "3");
        assert_eq!(socket.text(), "3");
    }
}

#[test]
fn topics_that_are_changed_hold_from_then_on() {
    let server = Server::start();
    let mut socket = client(&server, "1", "[\"cats\"]");
    say(&server, "dogs", "\"too early\"");
    change(&mut socket, "[\"cats\",\"dogs\"]");
    say(&server, "dogs", "\"dog\"");
    say(&server, "cats", "\"cat\"");
    assert_eq!((socket.text(), socket.text()), ("dog".to_owned(), "cat".to_owned()));
    change(&mut socket, "[\"dogs\"]");
    say(&server, "cats", "\"unheard\"");
    say(&server, "dogs", "\"dog again\"");
    assert_eq!(socket.text(), "dog again");
    change(&mut socket, "[]");
    say(&server, "dogs", "\"unheard\"");
    change(&mut socket, "[\"dogs\"]");
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
    nothing_but(&server, &mut socket, "news.a");
}

#[test]
fn a_message_reaches_all_who_subscribed_or_all_clients_of_one_user() {
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
    nothing_but(&server, &mut ann_elsewhere, "dogs");
}

#[test]
fn ping_is_answered_pong() {
    let server = Server::start();
    let mut socket = client(&server, "1", "[]");
    for ping in ["ping", "ping\n", "ping\r\n"] {
        socket.send(ping);
        assert_eq!(socket.text(), "pong");
    }
}

#[test]
fn a_message_that_cannot_be_understood_is_told_why_and_changes_nothing() {
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
fn an_id_that_is_not_registered_is_404_whatever_it_looks_like() {
    let server = Server::start();
    for id in [Uuid::new_v4().to_string(), Uuid::nil().to_string(), "secret".to_owned()] {
        let answer = refused(server.address, &format!("/ws/{id}"), &[]);
        let problem = answer.problem(404, "unknown-registration");
        assert!(!problem.to_string().contains(&id), "{problem}");
        server.client().get(&format!("/ws/{id}")).problem(404, "unknown-registration");
    }
    // What is registered, and no socket.
    let path = register(&server, "{\"user_id\":1}");
    let answer = server.client().get(&path);
    answer.problem(426, "upgrade-required");
}

#[test]
fn deleting_a_registration_ends_its_connection_with_1000() {
    let server = Server::start();
    let path = register(&server, "{\"user_id\":1,\"topics\":[\"cats\"]}");
    let mut socket = Socket::open(&server, &path);
    delete(&server, &registration(&path)).expect(204);
    assert_eq!(socket.end(), Some((1000, "the registration was deleted".to_owned())));
    refused(server.address, &path, &[]).problem(404, "unknown-registration");
    delete(&server, &registration(&path)).problem(404, "unknown-registration");
}

#[test]
fn a_second_connection_takes_over_and_goes_on_where_the_first_one_was() {
    let server = Server::start();
    let path = register(&server, "{\"user_id\":1,\"topics\":[\"cats\"]}");
    let mut first = Socket::open(&server, &path);
    say(&server, "cats", "1");
    assert_eq!(first.text(), "1");
    change(&mut first, "[\"cats\",\"dogs\"]");
    let mut second = Socket::open(&server, &path);
    let taken: End = Some((4001, "another connection took the registration over".to_owned()));
    assert_eq!(first.end(), taken);
    say(&server, "dogs", "2");
    assert_eq!(second.text(), "2");
    nothing_but(&server, &mut second, "cats");
}

#[test]
fn a_client_that_comes_back_in_time_gets_what_it_missed_once() {
    let server = Server::start();
    let path = register(&server, "{\"user_id\":1,\"topics\":[\"cats\"]}");
    let mut socket = Socket::open(&server, &path);
    say(&server, "cats", "1");
    assert_eq!(socket.text(), "1");
    change(&mut socket, "[\"dogs\"]");
    socket.close();
    for message in ["2", "3"] {
        say(&server, "cats", "\"unheard\"");
        say(&server, "dogs", message);
    }
    let mut socket = Socket::open(&server, &path);
    assert_eq!((socket.text(), socket.text()), ("2".to_owned(), "3".to_owned()));
    nothing_but(&server, &mut socket, "dogs");
}

#[test]
fn a_client_that_stays_away_is_forgotten() {
    let server = Server::with(small().registration_expiry(Duration::from_secs(2)));
    let path = register(&server, "{\"user_id\":1,\"topics\":[\"cats\"]}");
    let mut socket = Socket::open(&server, &path);
    say(&server, "cats", "1");
    assert_eq!(socket.text(), "1");
    socket.close();
    eventually("the end of the registration", || {
        let answer = refused(server.address, &path, &["Origin: https://evil.example"]);
        (answer.status == 404).then_some(())
    });
    delete(&server, &registration(&path)).problem(404, "unknown-registration");
}

/// The window is small and the socket's buffers are, too: whoever does not read falls far behind.
#[test]
fn a_client_that_falls_behind_gets_every_message_all_the_same() {
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
fn a_restart_forgets_all_registrations() {
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
fn sockets_of_the_relay_are_counted_and_limited_as_streams_are() {
    let server = Server::with(small().max_streams(NonZeroUsize::MIN));
    let streams = || server.client().get("/health").json()["streams"].clone();
    let socket = client(&server, "1", "[]");
    assert_eq!(streams(), 1);
    let path = register(&server, "{\"user_id\":1}");
    refused(server.address, &path, &[]).problem(503, "too-many-streams");
    socket.close();
    let mut socket = eventually("room", || (streams() == 0).then(|| Socket::open(&server, &path)));
    assert_eq!(before_pong(&mut socket), [""; 0]);
    // One that would take over is refused too, and ends nothing.
    refused(server.address, &path, &[]).problem(503, "too-many-streams");
    change(&mut socket, "[\"cats\"]");
    say(&server, "cats", "1");
    assert_eq!(socket.text(), "1");
}

#[test]
fn sockets_of_one_user_are_limited_and_a_take_over_needs_a_place_too() {
    let server = Server::with(small().max_streams_per_user(NonZeroUsize::MIN));
    let mut ann = client(&server, "\"ann\"", "[\"cats\"]");
    let second = register(&server, "{\"user_id\":\"ann\"}");
    refused(server.address, &second, &[]).problem(429, "too-many-streams-for-user");
    let mut bob = client(&server, "\"bob\"", "[\"cats\"]");
    say(&server, "cats", "1");
    assert_eq!((ann.text(), bob.text()), ("1".to_owned(), "1".to_owned()));
    ann.close();
    eventually("room", || {
        let health = server.client().get("/health").expect(200).json();
        (health["streams"] == 1).then_some(())
    });
    Socket::open(&server, &second);
}

/// Each change once began a read of the log that nobody waited for and nothing bounded.
#[test]
fn changes_that_come_without_an_end_leave_the_server_to_others() {
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
fn registrations_are_in_the_metrics() {
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

/// The private record of one user among those that all get, told as records.
#[test]
fn positions_and_versions_are_those_of_the_log() {
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

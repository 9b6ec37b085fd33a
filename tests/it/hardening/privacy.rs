//! Attempts to read private records, or to learn that they exist, without being their user.

use std::collections::BTreeSet;

use crate::harness::relay::{publish, register};
use crate::harness::server::{Server, small};
use crate::harness::socket::Socket;
use crate::harness::stream::EventStream;

const SECRET: &str = "thesecret";
const USER: &str = "anntheuser";

fn insert_private(server: &Server, event: &str) {
    let body = format!("{{\"event\":\"{event}\",\"data\":\"{SECRET}\",\"to\":\"{USER}\"}}");
    server.client().insert(body).expect(201);
}

/// A private record through the relay.
fn publish_private(server: &Server, topic: &str) {
    let body = format!("{{\"topic\":\"{topic}\",\"message\":\"{SECRET}\",\"user_id\":\"{USER}\"}}");
    publish(server, &body);
}

/// A relay client that registered as `user`.
fn relay(server: &Server, user: &str, topics: &str) -> Socket {
    Socket::open(server, &registered(server, user, topics))
}

fn registered(server: &Server, user: &str, topics: &str) -> String {
    register(server, &format!("{{\"user_id\":\"{user}\",\"topics\":{topics}}}"))
}

/// Looks for private records on every route.
#[test]
fn no_route_shows_a_private_record_its_name_or_its_user() {
    let server = Server::start();
    server.client().put("public", "1");
    insert_private(&server, "public");
    insert_private(&server, "hiddenname");
    publish_private(&server, "public");
    publish_private(&server, "hiddenname");
    let server = server.restart();
    for target in [
        "/latest",
        "/latest?event=hiddenname",
        "/latest?event=%3E",
        "/audit",
        "/audit?event=hiddenname",
        "/audit?limit=1",
        "/audit/public",
        "/audit/public/1",
        "/audit/public?at=9999-01-01T00:00:00Z",
        "/log",
        "/log?after=1",
        "/consume/public",
        "/consume/public?after=1",
        "/consume/hiddenname",
        "/consume/hiddenname?consumer=c",
        "/health",
        "/metrics",
        "/readyz",
        "/openapi.json",
    ] {
        let text = server.client().get(target).text().to_owned();
        for word in [SECRET, USER, "hiddenname"] {
            assert!(!text.contains(word), "{word} in {target}: {text}");
        }
    }
    let (media, body) = (["Content-Type: application/json"], b"{\"consumer\":\"c\",\"ack\":1}");
    let answer = server.client().send("POST", "/consume/hiddenname", &media, body);
    let problem = answer.problem(422, "ack-too-new").to_string();
    assert!([SECRET, USER, "hiddenname"].iter().all(|word| !problem.contains(word)), "{problem}");
    let lines = server.client().lines("/audit/public");
    assert_eq!(lines.len(), 1);
}

/// Looks for private records on streams: of everything, of the exact name, of all versions, live
/// and resumed.
#[test]
fn no_stream_shows_a_private_record() {
    let server = Server::start();
    insert_private(&server, "note");
    for query in
        ["", "?event=note", "?event=%3E", "?event=*", "?replay=all", "?replay=all&event=note"]
    {
        let mut stream = server.events(query);
        let replayed = stream.until_synced();
        assert!(replayed.iter().all(|block| !block.data.contains(SECRET)), "{query}");
        insert_private(&server, "note");
        server.client().put("note", "\"public\"");
        let next = stream.block();
        assert!(next.data.ends_with(",\"data\":\"public\"}"), "{query}: {next:?}");
        let mut reset = EventStream::open(
            server.address,
            &format!("/events{query}"),
            &["Last-Event-ID: garbage"],
        );
        let blocks = reset.until_synced();
        assert!(blocks.iter().all(|block| !block.data.contains(SECRET)), "{query}");
    }
}

/// Looks for private records on sockets: of everything, of the exact name, of all versions, and
/// after a change of topics.
#[test]
fn no_socket_shows_a_private_record() {
    let server = Server::start();
    insert_private(&server, "note");
    publish_private(&server, "note");
    for query in ["", "?event=note", "?event=%3E", "?replay=all", "?replay=all&event=note"] {
        let mut socket = Socket::open(&server, &format!("/ws{query}"));
        let mut seen = socket.until_synced();
        publish_private(&server, "note");
        socket.send("{\"topics\":[\"note\",\"*\"]}");
        seen.extend(socket.until_synced());
        publish_private(&server, "note");
        server.client().put("note", "\"public\"");
        seen.extend(socket.until(|message| message["record"]["data"] == "public"));
        let text = format!("{seen:?}");
        assert!(!text.contains(SECRET) && !text.contains(USER), "{query}: {text}");
    }
    let mut socket = Socket::open(&server, "/subscribe/note");
    assert_eq!(socket.text(), "public");
    publish_private(&server, "note");
    server.client().put("note", "\"the next\"");
    assert_eq!(socket.text(), "the next");
}

/// Another user of the relay subscribes to every topic: messages before and after connecting, after
/// a change of topics, after reconnecting, and far behind the log.
#[test]
fn no_relay_client_gets_the_messages_of_another_user() {
    let server = Server::with(small().window_bytes(64 << 10));
    insert_private(&server, "note");
    let path = registered(&server, "ben", "[\">\",\"note\"]");
    publish_private(&server, "note");
    let mut ben = Socket::open(&server, &format!("{path}?format=record"));
    // Users whose names are a prefix of the user's and its upper case.
    let mut prefix = relay(&server, &USER[..3], "[\">\"]");
    let mut capitals = relay(&server, &USER.to_uppercase(), "[\">\"]");
    publish_private(&server, "note");
    ben.send("{\"topics\":[\"*\",\"note\"]}");
    publish_private(&server, "note");
    ben.send("{\"topics\":[\">\"]}");
    ben.close();
    // More than the window holds, so that it is read from the log.
    let event = format!("{{\"event\":\"note\",\"data\":\"{SECRET}\",\"to\":\"{USER}\"}}");
    let batch = vec![event.as_str(); 900].join(",");
    server.client().insert(format!("[{batch}]")).expect(201);
    let mut ben = Socket::open(&server, &path);
    publish_private(&server, "note");
    server.client().put("note", "\"for all\"");
    for socket in [&mut ben, &mut prefix, &mut capitals] {
        assert_eq!(socket.text(), "for all");
    }
    // The user does get them, so there was something to find.
    let mut user = relay(&server, USER, "[\"note\"]");
    publish_private(&server, "note");
    assert_eq!(user.text(), SECRET);
}

/// Side channel: gaps in versions would reveal private messages to other users.
#[test]
fn versions_seen_by_a_relay_client_have_no_gaps_from_private_messages() {
    let server = Server::start();
    let path = registered(&server, "ben", "[\"note\"]");
    let mut ben = Socket::open(&server, &format!("{path}?format=record"));
    for version in 1..=3 {
        publish_private(&server, "note");
        server.client().put("note", "1");
        assert_eq!(ben.json()["version"], version);
    }
}

/// `?to=` asks for the private history of a user, and must not reveal whether there is one.
#[test]
fn reading_a_users_history_is_403_whether_it_exists_or_not() {
    let server = Server::start();
    insert_private(&server, "note");
    server.client().put("note", "1");
    for target in ["/audit/note", "/audit/note/1", "/audit/nothing", "/audit/nothing/1"] {
        for user in [USER, "nobody"] {
            let answer = server.client().get(&format!("{target}?to={user}"));
            answer.problem(403, "private");
        }
    }
    server.client().get("/audit/note?limit=1&to=x").problem(403, "private");
}

/// An event with only private records must look like one that does not exist.
#[test]
fn event_with_only_private_records_looks_unknown() {
    let server = Server::start();
    insert_private(&server, "note");
    let hidden = server.client().get("/audit/note");
    hidden.problem(404, "unknown-event");
    let never = server.client().get("/audit/nevr");
    assert_eq!(hidden.text().replace("note", "nevr"), never.text());
    server.client().get("/audit/note/1").problem(404, "unknown-event");
    // Private versions do not count for the public event, in a receipt or in a mismatch.
    let body = "{\"event\":\"note\",\"data\":1,\"expected_version\":7}";
    let problem = server.client().insert(body).problem(409, "version-mismatch");
    assert_eq!(problem["current_version"], 0);
    assert_eq!(server.client().put("note", "1")["version"], 1);
}

/// Side channel: counts would reveal that private records exist.
#[test]
fn private_records_are_in_no_count() {
    let server = Server::start();
    server.client().put("note", "1");
    let health = || server.client().health()["events"].clone();
    let gauges = || {
        let text = server.client().get("/metrics").text().to_owned();
        let lines = text.lines().filter(|line| line.starts_with("broker_latest"));
        lines.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let before = (health(), gauges());
    insert_private(&server, "note");
    insert_private(&server, "other");
    assert_eq!((health(), gauges()), before);
    let list = server.client().get("/audit").json();
    assert_eq!((list.as_array().map(Vec::len), &list[0]["count"]), (Some(1), &1.into()));
    let synced = server.events("").until_synced().pop().expect("synced");
    assert_eq!(synced.json()["events"], 1);
}

/// Side channel: an etag that changes with private records would reveal them.
#[test]
fn etag_of_latest_ignores_private_records() {
    let server = Server::start();
    server.client().put("note", "1");
    let etag = || server.client().get("/latest?event=note").header("etag").map(str::to_owned);
    let before = etag();
    insert_private(&server, "note");
    assert_eq!(etag(), before);
}

/// A public insert that guesses the id of a private one must not get its receipt.
#[test]
fn id_of_a_private_insert_does_not_reveal_its_receipt() {
    let server = Server::with(small());
    let id = uuid::Uuid::now_v7();
    let body =
        format!("{{\"event\":\"note\",\"data\":\"{SECRET}\",\"to\":\"{USER}\",\"id\":\"{id}\"}}");
    server.client().insert(body).expect(201);
    let guess = format!("{{\"event\":\"note\",\"data\":\"{SECRET}\",\"id\":\"{id}\"}}");
    let answer = server.client().insert(guess);
    answer.problem(409, "id-taken");
    assert!(!answer.text().contains(USER) && !answer.text().contains(SECRET), "{}", answer.text());
}

//! A socket sends the same records as an event stream.

use crate::harness::server::Server;
use crate::harness::socket::{Socket, summary};

/// Summary of a new socket with this query up to `synced`.
fn replayed(server: &Server, query: &str) -> String {
    summary(&Socket::open(server, &format!("/ws{query}")).until_synced())
}

#[test]
fn messages_are_records_with_cursors_then_synced_then_each_new_record() {
    let server = Server::start();
    server.client().put("a.b", "{\"x\":\"ä\"}");
    let mut stream = server.events("");
    let mut socket = Socket::open(&server, "/ws");
    for _ in 0..2 {
        let (record, synced) = (stream.block(), "broker:synced");
        let expected = if record.is(synced) {
            format!("{{\"synced\":{}}}", record.data)
        } else {
            format!("{{\"record\":{},\"cursor\":\"{}\"}}", record.data, record.id)
        };
        assert_eq!(socket.text(), expected, "byte for byte");
    }
    server.client().put("a.b", "2");
    let live = stream.block();
    let expected = format!("{{\"record\":{},\"cursor\":\"{}\"}}", live.data, live.id);
    assert_eq!(socket.text(), expected);
}

#[test]
fn filters_work_as_on_event_streams() {
    let server = Server::start();
    for event in ["a", "a.b", "a.c", "b"] {
        server.client().put(event, "1");
    }
    for (query, expected) in [
        ("", "a1 a.b1 a.c1 b1 synced"),
        ("?event=a.*", "a.b1 a.c1 synced"),
        ("?event=a&event=b", "a1 b1 synced"),
        ("?event=%3E", "a1 a.b1 a.c1 b1 synced"),
        ("?event=nothing", "synced"),
    ] {
        assert_eq!(replayed(&server, query), expected, "{query}");
    }
}

#[test]
fn replay_is_latest_none_or_all() {
    let server = Server::start();
    for event in ["a", "b", "a"] {
        server.client().put(event, "1");
    }
    assert_eq!(replayed(&server, "?replay=latest"), "b1 a2 synced");
    assert_eq!(replayed(&server, "?replay=none"), "synced");
    assert_eq!(replayed(&server, "?replay=all"), "a1 b1 a2 synced");
}

#[test]
fn cursors_work_across_streams_sockets_and_restarts() {
    let server = Server::start();
    server.client().put("a", "1");
    let of_stream = server.events("").block().id;
    let of_socket = Socket::open(&server, "/ws").json()["cursor"].clone();
    assert_eq!(of_socket, *of_stream);
    let server = server.restart();
    server.client().put("b", "1");
    for name in ["last_event_id", "lastEventId", "lastEventID"] {
        assert_eq!(replayed(&server, &format!("?{name}={of_stream}")), "b1 synced");
    }
    let headers = [("Last-Event-ID", of_stream.as_str())];
    let mut socket = Socket::open_with(&server, "/ws", &headers);
    assert_eq!(summary(&socket.until_synced()), "b1 synced");
    let mut stream = server.events_after("", of_socket.as_str().expect("a cursor"));
    assert_eq!(stream.block().json()["event"], "b");
}

#[test]
fn invalid_cursor_gets_a_reset_and_a_full_replay() {
    let server = Server::start();
    server.client().put("a", "1");
    let other_view = server.events("?event=a").block().id;
    for cursor in ["garbage", "%ff", other_view.as_str(), "0000000000000000-1-0000000000000000"] {
        for replay in ["latest", "none"] {
            let mut socket =
                Socket::open(&server, &format!("/ws?replay={replay}&last_event_id={cursor}"));
            let messages = socket.until_synced();
            assert_eq!(summary(&messages), "reset a1 synced", "{cursor}");
            let cursor = messages[0]["reset"]["cursor"].as_str().expect("a cursor");
            assert!(cursor.contains("-0-"), "its seq is 0: {cursor}");
        }
    }
}

#[test]
fn private_and_system_records_are_not_sent() {
    let server = Server::start().restart();
    server.client().insert("{\"event\":\"a\",\"data\":1,\"to\":\"bob\"}").expect(201);
    server.client().put("a", "2");
    for query in ["", "?replay=all", "?event=a"] {
        assert_eq!(replayed(&server, query), "a1 synced");
    }
}

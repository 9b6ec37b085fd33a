//! Slow readers of sockets behave like those of event streams.

use std::collections::HashMap;

use serde_json::Value;

use crate::harness::overrun::{EVENTS, ROUNDS, overrun_buffers};
use crate::harness::server::{Server, small};
use crate::harness::socket::{Frames, Socket};
use crate::harness::wire::Connection;

/// Reads up to the record of `end`. Returns the latest version of each event and the number of
/// records received.
fn read_until_end(mut next: impl FnMut() -> Value) -> (HashMap<String, u64>, u64) {
    let (mut latest, mut last_seq, mut records) = (HashMap::new(), 0, 0);
    loop {
        let message = next();
        let record = &message["record"];
        let Some(seq) = record["seq"].as_u64() else { continue };
        assert!(seq > last_seq, "{seq} after {last_seq}");
        (last_seq, records) = (seq, records + 1);
        let event = record["event"].as_str().expect("a name").to_owned();
        let version = record["version"].as_u64().expect("a version");
        assert!(version > latest.insert(event.clone(), version).unwrap_or(0), "{record}");
        if event == "end" {
            return (latest, records);
        }
    }
}

fn stalled(server: &Server, query: &str) -> Frames {
    let connection = Connection::with_receive_buffer(server.address, 4 << 10);
    let mut socket = Frames::open_on(connection, &format!("/ws{query}"));
    assert!(socket.text().contains("synced"));
    socket
}

#[test]
fn stalled_socket_skips_superseded_versions_and_ends_on_the_latest() {
    let server = Server::with(small().window_bytes(1 << 10));
    let mut socket = stalled(&server, "");
    overrun_buffers(&server);
    server.client().put("end", "1");
    let (latest, records) = read_until_end(|| serde_json::from_str(&socket.text()).expect("JSON"));
    for event in 0..EVENTS {
        assert_eq!(latest[&format!("e{event}")], ROUNDS, "it ends on the latest version");
    }
    let inserted = ROUNDS * EVENTS as u64;
    assert!(records < inserted / 2, "{records} of {inserted} records");
    for version in 1..=5 {
        server.client().put("after", &version.to_string());
        let message: Value = serde_json::from_str(&socket.text()).expect("JSON");
        assert_eq!(message["record"]["version"], version, "it follows again");
    }
}

#[test]
fn stalled_socket_of_all_versions_gets_every_one() {
    let server = Server::with(small().window_bytes(1 << 10));
    let mut socket = stalled(&server, "?replay=all");
    overrun_buffers(&server);
    server.client().put("end", "1");
    let (_, records) = read_until_end(|| serde_json::from_str(&socket.text()).expect("JSON"));
    assert_eq!(records, ROUNDS * EVENTS as u64 + 1);
}

#[test]
fn stalled_socket_delays_nobody() {
    let server = Server::with(small().window_bytes(64 << 20));
    let _slow = stalled(&server, "");
    let mut fast = Socket::open(&server, "/ws?event=e0&event=end");
    fast.until_synced();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            overrun_buffers(&server);
            server.client().put("end", "1");
        });
        let (latest, records) = read_until_end(|| fast.json());
        assert_eq!((latest["e0"], records), (ROUNDS, ROUNDS + 1), "each exactly once");
    });
}

#[test]
fn large_values_arrive_and_leave_whole() {
    let server = Server::start();
    let large = "é😀x".repeat(60_000);
    let mut socket = Socket::open(&server, "/ws");
    socket.until_synced();
    socket.send(format!("{{\"insert\":{{\"event\":\"large\",\"data\":\"{large}\"}}}}"));
    let messages = [socket.json(), socket.json()];
    let record = messages.iter().find(|message| message.get("record").is_some());
    assert_eq!(record.expect("a record")["record"]["data"], large);
    assert_eq!(Socket::open(&server, "/subscribe/large").text(), large);
}

//! Slow readers skip superseded versions, end on the latest ones, and delay nobody else.

use std::collections::HashMap;

use crate::events::event_versions;
use crate::harness::overrun::{EVENTS, ROUNDS, overrun_buffers};
use crate::harness::server::{Server, small};
use crate::harness::stream::{Block, EventStream};
use crate::harness::wire::Connection;

fn lagging(server: &Server, query: &str) -> EventStream {
    let connection = Connection::with_receive_buffer(server.address, 4 << 10);
    let mut stream = EventStream::open_on(connection, &format!("/events{query}"), &[]);
    stream.until_synced();
    stream
}

/// Asserts that seqs and the versions of each event increase. Returns the latest version of each.
fn assert_never_backwards(blocks: &[Block]) -> HashMap<String, u64> {
    let mut latest = HashMap::new();
    let mut last_seq = 0;
    for (block, (event, version)) in blocks.iter().zip(event_versions(blocks)) {
        assert!(block.seq() > last_seq, "{} after {last_seq}", block.seq());
        last_seq = block.seq();
        assert!(version > latest.insert(event, version).unwrap_or(0), "{block:?}");
    }
    latest
}

#[test]
fn lagging_subscriber_catches_up_with_latest_values_and_never_goes_backwards() {
    let server = Server::with(small().window_bytes(1 << 10));
    let mut stream = lagging(&server, "");
    overrun_buffers(&server);
    let end = server.client().put("end", "1");
    let blocks = stream.until(|block| block.is("end"));
    let latest = assert_never_backwards(&blocks);
    assert_eq!(blocks.last().map(Block::seq), end["seq"].as_u64());
    for event in 0..EVENTS {
        assert_eq!(latest[&format!("e{event}")], ROUNDS, "it ends on the latest version");
    }
    let sent = blocks.len() as u64;
    let inserted = ROUNDS * EVENTS as u64;
    assert!(sent < inserted / 2, "{sent} of {inserted} blocks: superseded versions are skipped");
    // After catching up it follows live and skips nothing. One insert at a time, because the
    // window holds no more than three.
    for version in 1..=5 {
        server.client().put("after", &version.to_string());
        assert_eq!(stream.block().version(), version);
    }
}

#[test]
fn slow_reader_delays_neither_fast_readers_nor_writers() {
    let server = Server::with(small().window_bytes(64 << 20));
    let _slow = lagging(&server, "");
    let mut fast = server.events("?event=e0");
    fast.until_synced();
    std::thread::scope(|scope| {
        scope.spawn(|| overrun_buffers(&server));
        for version in 1..=ROUNDS {
            assert_eq!(fast.block().version(), version, "each exactly once, in order");
        }
    });
}

#[test]
fn lagging_subscriber_of_all_versions_gets_every_one() {
    let server = Server::with(small().window_bytes(1 << 10));
    let mut stream = lagging(&server, "?replay=all");
    overrun_buffers(&server);
    server.client().put("end", "1");
    let blocks = stream.until(|block| block.is("end"));
    assert_never_backwards(&blocks);
    assert_eq!(blocks.len() as u64, ROUNDS * EVENTS as u64 + 1);
}

#[test]
fn lagging_subscriber_of_one_event_ends_on_its_latest_version() {
    let server = Server::with(small().window_bytes(1 << 10));
    let mut stream = lagging(&server, "?event=e3&event=end");
    overrun_buffers(&server);
    server.client().put("end", "1");
    let blocks = stream.until(|block| block.is("end"));
    let latest = assert_never_backwards(&blocks);
    assert_eq!(latest["e3"], ROUNDS);
    assert!(latest.keys().all(|event| event == "e3" || event == "end"));
}

#[test]
fn large_values_arrive_whole() {
    let server = Server::start();
    let large = format!("\"{}\"", "é😀x".repeat(60_000));
    server.client().put("large", &large);
    let mut stream = server.events("");
    let replayed = stream.block();
    assert!(replayed.data.ends_with(&format!(",\"data\":{large}}}")));
    stream.until_synced();
    server.client().put("large", &large);
    assert!(stream.block().data.ends_with(&format!(",\"data\":{large}}}")));
}

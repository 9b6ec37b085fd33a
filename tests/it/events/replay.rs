//! `replay`: the start of a stream without a valid cursor.

use std::collections::HashMap;

use crate::events::{replayed, summary};
use crate::harness::server::{Server, small};
use crate::harness::stream::Block;

fn filled() -> Server {
    let server = Server::start();
    for event in ["a", "b", "a", "c", "a"] {
        server.client().put(event, "1");
    }
    server
}

#[test]
fn latest_is_the_default_and_sends_only_latest_versions() {
    let server = filled();
    for query in ["", "?replay=latest", "?replay="] {
        assert_eq!(replayed(&server, query), "b1 c1 a3 synced", "{query}");
    }
}

#[test]
fn none_sends_only_new_records() {
    let server = filled();
    let mut stream = server.events("?replay=none");
    let blocks = stream.until_synced();
    assert_eq!(summary(&blocks), "synced");
    assert_eq!(blocks[0].json()["events"], 0);
    server.client().put("b", "2");
    assert_eq!(summary(&[stream.block()]), "b2");
}

#[test]
fn none_with_a_valid_cursor_sends_newer_records() {
    let server = filled();
    let at = server.events("?replay=none").until_synced().pop().expect("synced").id;
    for _ in 0..2 {
        server.client().put("b", "2");
    }
    assert_eq!(summary(&server.events_after("?replay=none", &at).until_synced()), "b3 synced");
}

#[test]
fn none_with_an_invalid_cursor_resets_and_replays() {
    let server = filled();
    let blocks = server.events_after("?replay=none", "garbage").until_synced();
    assert_eq!(summary(&blocks), "reset b1 c1 a3 synced");
}

#[test]
fn all_sends_every_version_in_replay_and_live() {
    let server = filled();
    let mut stream = server.events("?replay=all");
    let blocks = stream.until_synced();
    assert_eq!(summary(&blocks), "a1 b1 a2 c1 a3 synced");
    assert_eq!(blocks[5].json()["events"], 5);
    server
        .client()
        .insert("[{\"event\":\"b\",\"data\":2},{\"event\":\"b\",\"data\":3}]")
        .expect(201);
    assert_eq!(summary(&[stream.block(), stream.block()]), "b2 b3");
    assert_eq!(replayed(&server, "?replay=all&event=b"), "b1 b2 b3 synced");
}

#[test]
fn all_with_a_cursor_still_sends_every_version() {
    let server = filled();
    let second = server.events("?replay=all").until(|block| block.is("b")).pop().expect("b1");
    let blocks = server.events_after("?replay=all", &second.id).until_synced();
    assert_eq!(summary(&blocks), "a2 c1 a3 synced");
    let blocks = server.events_after("?replay=all", "garbage").until_synced();
    assert_eq!(summary(&blocks), "reset a1 b1 a2 c1 a3 synced");
    // The same cursor without `replay=all` gives the latest versions.
    assert_eq!(summary(&server.events_after("", &second.id).until_synced()), "c1 a3 synced");
}

#[test]
fn all_crosses_segments_and_restarts() {
    let server = Server::start();
    let data = format!("\"{}\"", "x".repeat(30_000));
    for _ in 0..50 {
        server.client().put("a", &data);
    }
    let server = server.restart();
    server.client().put("a", "1");
    let blocks = server.events("?replay=all").until_synced();
    let versions: Vec<_> = blocks[..51].iter().map(Block::version).collect();
    assert_eq!(versions, (1..=51).collect::<Vec<u64>>());
}

/// Streams start while others insert, with a window of only a few records.
#[test]
fn all_misses_and_repeats_nothing_during_concurrent_inserts() {
    const WRITERS: usize = 4;
    const INSERTS: u64 = 120;
    let server = Server::with(small().window_bytes(2 << 10));
    let client = server.client();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for n in 0..INSERTS / 3 {
                    let one = format!("{{\"event\":\"e{writer}\",\"data\":{n}}}");
                    client.insert(format!("[{one},{one},{one}]")).expect(201);
                }
            });
        }
        for _ in 0..4 {
            let mut stream = server.events("?replay=all");
            scope.spawn(move || {
                let mut versions: HashMap<String, u64> = HashMap::new();
                let mut last_seq = 0;
                while versions.values().filter(|version| **version == INSERTS).count() < WRITERS {
                    let block = stream.block();
                    let Some(event) = block.event.clone().filter(|e| e.starts_with('e')) else {
                        continue;
                    };
                    assert!(block.seq() > last_seq, "{} after {last_seq}", block.seq());
                    last_seq = block.seq();
                    let version = versions.entry(event).or_default();
                    assert_eq!(block.version(), *version + 1, "{block:?}");
                    *version += 1;
                }
            });
        }
    });
}

/// Reconnects after varying numbers of blocks, each time with the id of the last block.
#[test]
fn all_is_complete_across_many_reconnects() {
    let server = Server::start();
    let client = server.client();
    let mut seen = Vec::new();
    let mut at: Option<String> = None;
    std::thread::scope(|scope| {
        scope.spawn(move || (0..200).for_each(|n| drop(client.put("a", &n.to_string()))));
        while seen.last() != Some(&200) {
            let mut stream = match &at {
                Some(at) => server.events_after("?replay=all", at),
                None => server.events("?replay=all"),
            };
            for _ in 0..=(seen.len() % 7) {
                let block = stream.block();
                assert!(!block.is("broker:reset"));
                if block.is("a") {
                    seen.push(block.version());
                }
                at = Some(block.id);
                if seen.last() == Some(&200) {
                    break;
                }
            }
        }
    });
    assert_eq!(seen, (1..=200).collect::<Vec<u64>>());
}

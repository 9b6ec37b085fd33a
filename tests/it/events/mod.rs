//! `GET /events` and `GET /latest`, compared byte by byte.

mod connections;
mod cursors;
mod interop;
mod latest;
mod lifecycle;
mod replay;
mod slow_readers;

use serde_json::Value;

use crate::harness::server::Server;
use crate::harness::stream::{Block, EventStream};

/// `(event, version)` of each record; control events have version 0.
fn event_versions(blocks: &[Block]) -> Vec<(String, u64)> {
    let of = |block: &Block| {
        let json = block.json();
        match json["version"].as_u64() {
            Some(version) => (json["event"].as_str().expect("a name").to_owned(), version),
            None => (block.event.clone().expect("a control event has a name"), 0),
        }
    };
    blocks.iter().map(of).collect()
}

/// The blocks in one line: `a1 b2 synced`.
fn summary(blocks: &[Block]) -> String {
    let word = |(event, version): (String, u64)| match version {
        0 => event.replace("broker:", ""),
        version => format!("{event}{version}"),
    };
    event_versions(blocks).into_iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Summary of a new stream with this query up to `synced`.
fn replayed(server: &Server, query: &str) -> String {
    summary(&server.events(query).until_synced())
}

fn record_json(server: &Server, event: &str, version: u64) -> String {
    let audit = server.client().get(&format!("/audit/{event}/{version}")).expect(200);
    let (record, _) = audit.text().rsplit_once(",\"hash\":").expect("the audit adds the hash");
    format!("{record}}}")
}

#[test]
fn block_is_id_event_data_and_only_the_first_has_retry() {
    let server = Server::start();
    server.client().put("a.b", "{\"x\":\"ä\"}");
    let mut stream = server.events("");
    let first = stream.block();
    let retry = first.retry.expect("the first block says when to come back");
    assert!((1_000..=5_000).contains(&retry), "{retry}");
    let record = record_json(&server, "a.b", 1);
    let id = &first.id;
    assert_eq!(first.raw, format!("id:{id}\nevent:a.b\ndata:{record}\nretry:{retry}\n\n"));

    let synced = stream.block();
    let id = &synced.id;
    let expected =
        format!("id:{id}\nevent:broker:synced\ndata:{{\"cursor\":\"{id}\",\"events\":1}}\n\n");
    assert_eq!(synced.raw, expected);

    server.client().put("a.b", "2");
    let live = stream.block();
    let record = record_json(&server, "a.b", 2);
    assert_eq!(live.raw, format!("id:{}\nevent:a.b\ndata:{record}\n\n", live.id));
}

#[test]
fn first_block_of_an_empty_stream_is_synced_with_retry() {
    let server = Server::start();
    let block = server.events("").block();
    assert!(block.is("broker:synced") && block.retry.is_some(), "{block:?}");
    assert_eq!(block.json()["events"], 0);
    assert_eq!(block.json()["cursor"], *block.id);
}

#[test]
fn id_is_epoch_seq_and_view_digest() {
    let server = Server::start();
    server.client().put("a", "1");
    let mut stream = server.events("?event=a");
    let block = stream.block();
    let fields: Vec<_> = block.id.split('-').collect();
    let epoch = server.client().health()["epoch"].clone();
    assert_eq!((Value::from(fields[0]), fields[1]), (epoch, "2"));
    assert_eq!(fields.len(), 3);
    assert!(fields[2].len() == 16 && fields[2].bytes().all(|b| b.is_ascii_hexdigit()));
}

#[test]
fn headers_stop_proxies_from_buffering_the_stream() {
    let server = Server::start();
    let stream = server.events("");
    assert_eq!(stream.headers.find("cache-control"), Some("no-store, no-transform"));
    assert_eq!(stream.headers.find("x-accel-buffering"), Some("no"));
    assert_eq!(stream.headers.find("content-encoding"), Some("identity"));
}

#[test]
fn replay_is_ascending_then_synced_then_live() {
    let server = Server::start();
    let client = server.client();
    for event in ["c", "a", "b", "c"] {
        client.put(event, "1");
    }
    let mut stream = server.events("");
    assert_eq!(summary(&stream.until_synced()), "a1 b1 c2 synced");
    client.put("b", "2");
    client.put("d", "1");
    client.insert("[{\"event\":\"a\",\"data\":2},{\"event\":\"a\",\"data\":3}]").expect(201);
    let live: Vec<_> = (0..4).map(|_| stream.block()).collect();
    assert_eq!(summary(&live), "b2 d1 a2 a3");
    let seqs: Vec<_> = live.iter().map(Block::seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{seqs:?}");
    assert!(live.iter().all(|block| block.id.contains(&format!("-{}-", block.seq()))));
}

#[test]
fn filters_are_repeatable_and_use_nats_wildcards() {
    let server = Server::start();
    for event in ["a", "a.b", "a.c", "a.b.c", "b", "A", "aa"] {
        server.client().put(event, "1");
    }
    for (query, expected) in [
        ("?event=a", "a1"),
        ("?event=a&event=b", "a1 b1"),
        ("?event=a&event=a", "a1"),
        ("?event=*", "a1 b1 A1 aa1"),
        ("?event=a.*", "a.b1 a.c1"),
        ("?event=a.%3E", "a.b1 a.c1 a.b.c1"),
        ("?event=*.b", "a.b1"),
        ("?event=*.*.c", "a.b.c1"),
        ("?event=%3E", "a1 a.b1 a.c1 a.b.c1 b1 A1 aa1"),
        ("?event=a&event=a.%3E", "a1 a.b1 a.c1 a.b.c1"),
        ("?event=nothing", ""),
        ("", "a1 a.b1 a.c1 a.b.c1 b1 A1 aa1"),
    ] {
        assert_eq!(replayed(&server, query), format!("{expected} synced").trim(), "{query}");
    }
}

#[test]
fn filters_apply_to_live_records() {
    let server = Server::start();
    let mut streams: Vec<EventStream> =
        ["?event=a.*", "?event=b&event=a.x", "?event=%3E"].map(|query| server.events(query)).into();
    streams.iter_mut().for_each(|stream| drop(stream.until_synced()));
    for event in ["a", "a.x", "a.x.y", "b", "a.y", "end", "a.end", "b"] {
        server.client().put(event, "1");
    }
    let live = |stream: &mut EventStream, count| {
        summary(&(0..count).map(|_| stream.block()).collect::<Vec<_>>())
    };
    assert_eq!(live(&mut streams[0], 3), "a.x1 a.y1 a.end1");
    assert_eq!(live(&mut streams[1], 3), "a.x1 b1 b2");
    assert_eq!(live(&mut streams[2], 8), "a1 a.x1 a.x.y1 b1 a.y1 end1 a.end1 b2");
}

#[test]
fn non_ascii_names_are_filtered_by_their_bytes() {
    let server = Server::start();
    server.client().put("größe.東京", "1");
    server.client().put("groesse", "1");
    assert_eq!(replayed(&server, "?event=gr%C3%B6%C3%9Fe.*"), "größe.東京1 synced");
}

#[test]
fn dispatch_message_omits_event_names_except_for_control_events() {
    let server = Server::start();
    server.client().put("a", "1");
    let mut stream = server.events("?dispatch=message");
    let record = stream.block();
    assert_eq!(record.event, None);
    assert_eq!(record.json()["event"], "a");
    assert!(stream.block().is("broker:synced"));
    server.client().put("a", "2");
    assert_eq!(stream.block().event, None);
    let mut again =
        EventStream::open(server.address, "/events?dispatch=message", &["Last-Event-ID: garbage"]);
    assert!(again.block().is("broker:reset"));
}

#[test]
fn system_records_are_on_no_stream() {
    let server = Server::start().restart().restart();
    assert_eq!(replayed(&server, ""), "synced");
    assert_eq!(replayed(&server, "?replay=all"), "synced");
    assert_eq!(server.client().lines("/log").len(), 3, "the log has all three opens");
}

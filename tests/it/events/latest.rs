//! `GET /latest`: the replay of a stream as one JSON object.

use crate::events::summary;
use crate::harness::server::Server;
use crate::harness::stream::Block;

fn filled() -> Server {
    let server = Server::start();
    for event in ["a", "b.x", "a", "b.y"] {
        server.client().put(event, "{\"n\":1.50}");
    }
    server.client().insert("{\"event\":\"a\",\"data\":\"secret\",\"to\":\"ann\"}").expect(201);
    server
}

#[test]
fn latest_equals_the_replay_byte_for_byte() {
    let server = filled();
    for query in ["", "?event=a", "?event=b.*", "?event=nothing", "?event=a&event=b.x"] {
        let mut blocks = server.events(query).until_synced();
        let synced = blocks.pop().expect("synced");
        let records: Vec<_> = blocks.iter().map(|block| block.data.as_str()).collect();
        let expected =
            format!("{{\"cursor\":\"{}\",\"records\":[{}]}}", synced.id, records.join(","));
        let answer = server.client().get(&format!("/latest{query}")).expect(200);
        assert_eq!(answer.text(), expected, "{query}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
    }
}

#[test]
fn cursor_of_latest_continues_as_a_stream() {
    let server = filled();
    let latest = server.client().get("/latest?event=b.*").json();
    server.client().put("a", "2");
    server.client().put("b.x", "2");
    let cursor = latest["cursor"].as_str().expect("a cursor");
    let blocks = server.events_after("?event=b.*", cursor).until_synced();
    assert_eq!(summary(&blocks), "b.x2 synced");
}

#[test]
fn etag_changes_only_with_selected_records_and_304_has_no_body() {
    let server = filled();
    let client = server.client();
    let etag_of = |target| client.get(target).expect(200).header("etag").map(str::to_owned);
    let etag = etag_of("/latest?event=b.*").expect("an etag");
    assert_ne!(etag_of("/latest"), Some(etag.clone()), "another set of filters");
    let condition = format!("If-None-Match: {etag}");
    let held = client.get_with("/latest?event=b.*", &[&condition]).expect(304);
    assert_eq!((held.header("etag"), held.body.len()), (Some(etag.as_str()), 0));

    client.put("a", "2");
    client.get_with("/latest?event=b.*", &[&condition]).expect(304);
    client.put("b.y", "2");
    let changed = client.get_with("/latest?event=b.*", &[&condition]).expect(200);
    assert_ne!(changed.header("etag"), Some(etag.as_str()));
    client.get_with("/latest", &["If-None-Match: *"]).expect(304);
    client.get_with("/latest", &["If-None-Match: \"other\", \"more\""]).expect(200);
}

#[test]
fn latest_survives_a_restart() {
    let server = filled();
    let records = |server: &Server| server.client().get("/latest").json()["records"].clone();
    let before = records(&server);
    assert_eq!(before.as_array().map(Vec::len), Some(3));
    let server = server.restart();
    assert_eq!(records(&server), before);
}

#[test]
fn ten_thousand_latest_values_all_arrive_in_order() {
    let server = Server::start();
    let client = server.client();
    for batch in 0..10 {
        let events: Vec<_> = (0..1_000)
            .map(|n| format!("{{\"event\":\"n.{}\",\"data\":0}}", batch * 1_000 + n))
            .collect();
        client.insert(format!("[{}]", events.join(","))).expect(201);
    }
    let blocks = server.events("").until_synced();
    assert_eq!(blocks.len(), 10_001);
    assert_eq!(blocks[10_000].json()["events"], 10_000);
    let seqs: Vec<_> = blocks[..10_000].iter().map(Block::seq).collect();
    assert_eq!(seqs, (2..=10_001).collect::<Vec<u64>>());
    let latest = client.get("/latest").expect(200).json();
    assert_eq!(latest["records"].as_array().map(Vec::len), Some(10_000));
}

//! `GET /audit/{event}` and `GET /audit/{event}/{version}`.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;

use serde_json::Value;

use crate::audit::{next_link, pages, versions, with_history};
use crate::harness::server::Server;
use crate::harness::wire::{Connection, request};

#[test]
fn history_lists_every_version_in_ascending_order() {
    let (server, _) = with_history(7);
    server.client().put("b", "1");
    let answer = server.client().get("/audit/a").expect(200);
    assert_eq!(versions(&answer), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("vary").map(|vary| vary.contains("Accept")), Some(true));
    assert_eq!(next_link(&answer), None);
    for (index, record) in answer.json().as_array().expect("an array").iter().enumerate() {
        assert_eq!((&record["event"], &record["data"]), (&"a".into(), &Value::from(index + 1)));
        assert!(record["hash"].is_string() && record["salts"].is_array(), "{record}");
    }
}

#[test]
fn acknowledged_insert_is_in_every_later_read() {
    let server = Server::start();
    for n in 1..=100 {
        server.client().put("a", &n.to_string());
        let record = server.client().get(&format!("/audit/a/{n}")).expect(200).json();
        assert_eq!(record["data"], n);
    }
    assert_eq!(versions(&server.client().get("/audit/a").expect(200)).len(), 100);
}

#[test]
fn after_version_limit_and_order_select_a_range() {
    let (server, _) = with_history(5);
    for (query, expected) in [
        ("?after_version=0", &[1, 2, 3, 4, 5][..]),
        ("?after_version=3", &[4, 5]),
        ("?after_version=5", &[]),
        ("?after_version=18446744073709551615", &[]),
        ("?limit=2", &[1, 2]),
        ("?limit=5", &[1, 2, 3, 4, 5]),
        ("?limit=99", &[1, 2, 3, 4, 5]),
        ("?after_version=1&limit=2", &[2, 3]),
        ("?order=asc", &[1, 2, 3, 4, 5]),
        ("?order=desc", &[5, 4, 3, 2, 1]),
        ("?order=desc&limit=2", &[5, 4]),
        ("?order=desc&after_version=4", &[3, 2, 1]),
        ("?order=desc&after_version=4&limit=1", &[3]),
        ("?order=desc&after_version=1", &[]),
        ("?order=desc&after_version=0", &[]),
    ] {
        let answer = server.client().get(&format!("/audit/a{query}")).expect(200);
        assert_eq!(versions(&answer), expected, "{query}");
    }
}

#[test]
fn following_next_links_yields_the_whole_history() {
    let (server, times) = with_history(11);
    let since = format!("?since={}&", times[0]);
    for (query, expected) in [
        ("?limit=3", (1..=11).collect::<Vec<u64>>()),
        ("?limit=3&order=desc", (1..=11).rev().collect()),
        ("?order=desc&limit=11", (1..=11).rev().collect()),
        ("?limit=1&after_version=8", vec![9, 10, 11]),
        (&format!("{since}limit=4"), (1..=11).collect()),
    ] {
        let pages = pages(server.client(), &format!("/audit/a{query}"));
        let all = pages.iter().flat_map(|page| page.as_array().expect("an array").iter());
        let all: Vec<_> =
            all.map(|record| record["version"].as_u64().expect("a version")).collect();
        assert_eq!(all, expected, "{query}");
        assert!(pages.iter().all(|page| page != &Value::Array(vec![])), "no empty page: {query}");
    }
}

#[test]
fn since_is_inclusive_and_until_exclusive() {
    let (server, times) = with_history(6);
    // Several versions may share a millisecond, so the expectation is computed from the times.
    let select = |since: Option<&String>, until: Option<&String>| -> Vec<u64> {
        let holds = |time: &&String| {
            since.is_none_or(|since| *time >= since) && until.is_none_or(|until| *time < until)
        };
        (1..).zip(&times).filter(|(_, time)| holds(time)).map(|(version, _)| version).collect()
    };
    for bound in &times {
        let get = |query: String| server.client().get(&format!("/audit/a?{query}")).expect(200);
        assert_eq!(versions(&get(format!("since={bound}"))), select(Some(bound), None));
        assert_eq!(versions(&get(format!("until={bound}"))), select(None, Some(bound)));
        let between = get(format!("since={}&until={bound}", times[1]));
        assert_eq!(versions(&between), select(Some(&times[1]), Some(bound)));
        // The same instant with another offset, and slightly later.
        let offset = bound.replace('Z', "%2B00:00");
        assert_eq!(versions(&get(format!("since={offset}"))), select(Some(bound), None));
        let later = bound.replace('Z', "0001Z");
        let newer: Vec<_> =
            (1..).zip(&times).filter(|(_, time)| *time > bound).map(|(v, _)| v).collect();
        assert_eq!(versions(&get(format!("since={later}"))), newer);
    }
    for (query, count) in [
        ("since=1970-01-01T00:00:00Z", 6),
        ("until=9999-12-31T23:59:59Z", 6),
        ("since=9999-12-31T23:59:59Z", 0),
        ("until=1970-01-01T00:00:00Z", 0),
    ] {
        let answer = server.client().get(&format!("/audit/a?{query}")).expect(200);
        assert_eq!(versions(&answer).len(), count, "{query}");
    }
}

#[test]
fn at_returns_the_record_current_at_that_time() {
    let (server, times) = with_history(4);
    let latest_then: BTreeMap<_, _> = times.iter().zip(1..).collect();
    for (time, version) in latest_then {
        let record = server.client().get(&format!("/audit/a?at={time}")).expect(200).json();
        assert_eq!(record["version"], version);
    }
    let latest = server.client().get("/audit/a?at=9999-12-31T23:59:59Z").expect(200).json();
    assert_eq!(latest["version"], 4);
    let before = server.client().get("/audit/a?at=1999-01-01T00:00:00Z");
    before.problem(404, "unknown-version");
    server.client().get("/audit/b?at=1999-01-01T00:00:00Z").problem(404, "unknown-event");
    let both = server.client().get("/audit/a?at=1999-01-01T00:00:00Z&limit=1");
    both.problem(400, "malformed-query");
}

#[test]
fn ndjson_has_the_same_records_one_per_line() {
    let (server, _) = with_history(5);
    let array = server.client().get("/audit/a?limit=4").expect(200);
    let lines = server.client().lines("/audit/a?limit=4");
    assert_eq!(array.text(), format!("[{}]", lines.join(",")));
    let lines =
        server.client().get_with("/audit/a?limit=4", &["Accept: application/x-ndjson"]).expect(200);
    assert_eq!(next_link(&lines).as_deref(), Some("?limit=4&after_version=4"));
    assert_eq!(server.client().lines("/audit/a?after_version=5"), [""; 0]);
    assert_eq!(server.client().get("/audit/a?after_version=5").expect(200).text(), "[]");
}

#[test]
fn single_version_has_an_etag_and_304_has_no_body() {
    let (server, _) = with_history(2);
    let answer = server.client().get("/audit/a/2").expect(200);
    let etag = answer.header("etag").expect("an etag").to_owned();
    assert_eq!(answer.json()["hash"], etag.trim_matches('"'));
    let condition = format!("If-None-Match: {etag}");
    let held = server.client().get_with("/audit/a/2", &[&condition]).expect(304);
    assert_eq!((held.header("etag"), held.body.len()), (Some(etag.as_str()), 0));
    server.client().get_with("/audit/a/1", &[&condition]).expect(200);
    let history = server.client().get("/audit/a").expect(200);
    assert_eq!(history.json()[1], answer.json(), "the same record in both routes");
}

#[test]
fn unknown_event_or_version_is_404() {
    let (server, _) = with_history(2);
    for target in ["/audit/b", "/audit/A", "/audit/a.b", "/audit/b/1"] {
        server.client().get(target).problem(404, "unknown-event");
    }
    for target in [
        "/audit/a/0",
        "/audit/a/3",
        "/audit/a/x",
        "/audit/a/-1",
        "/audit/a/1.0",
        "/audit/a/99999999999999999999",
    ] {
        server.client().get(target).problem(404, "unknown-version");
    }
    server.client().get("/audit/broker%3Aopen").problem(400, "malformed-name");
}

#[test]
fn invalid_parameter_is_400_and_named() {
    let (server, _) = with_history(1);
    for (query, named) in [
        ("after_version=x", "after_version"),
        ("after_version=-1", "after_version"),
        ("limit=0", "limit"),
        ("limit=many", "limit"),
        ("order=up", "order"),
        ("since=yesterday", "since"),
        ("until=2026-11-21", "until"),
        ("at=1", "at"),
        ("since=2026-13-01T00:00:00Z", "since"),
        ("limit=1&limit=2", "limit"),
        ("versions=1", "versions"),
        ("%ff=1", "%ff"),
    ] {
        let answer = server.client().get(&format!("/audit/a?{query}"));
        let problem = answer.problem(400, "malformed-query");
        let detail = problem["detail"].as_str().expect("a sentence");
        assert!(detail.contains(named), "{query}: {detail}");
    }
}

#[test]
fn names_are_percent_encoded_in_paths_including_non_ascii() {
    let server = Server::start();
    for name in ["größe.東京", "a+b", "x:y", "q&r=s", "~", "%C3%A9"] {
        let name = percent_decoded(name);
        let receipt = server.client().insert(format!("{{\"event\":\"{name}\",\"data\":1}}"));
        let location = receipt.expect(201).header("location").expect("a location").to_owned();
        let path = location.strip_suffix("/1").expect("version 1");
        assert_eq!(server.client().get(path).expect(200).json()[0]["event"], name);
        // Needless percent-encoding does not change the name.
        let encoded =
            percent_encoding::percent_encode(name.as_bytes(), percent_encoding::NON_ALPHANUMERIC);
        let answer = server.client().get(&format!("/audit/{encoded}/1")).expect(200);
        assert_eq!(answer.json()["event"], name);
    }
    // In a path a plus is not a space.
    server.client().get("/audit/a%20b").problem(400, "malformed-name");
    server.client().get("/audit/a+b").expect(200);
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Ten megabytes for a slow reader. The server does not hold the unread part in memory, so the
/// answer is chunked, and it is complete.
#[test]
fn large_history_is_streamed_and_complete() {
    let server = Server::start();
    let data = format!("\"{}\"", "x".repeat(5_000));
    let batch = [format!("{{\"event\":\"a\",\"data\":{data}}}").as_str(); 100].join(",");
    for _ in 0..20 {
        server.client().insert(format!("[{batch}]")).expect(201);
    }
    let mut connection = Connection::with_receive_buffer(server.address, 8 << 10);
    connection.send(request("GET", "/audit/a", &[], b""));
    let (status, headers) = connection.head().expect("a head");
    assert_eq!((status, headers.find("transfer-encoding")), (200, Some("chunked")));
    let first = connection.chunk().expect("whole").expect("a chunk");
    // While the answer waits for its reader, others are served and the history grows.
    server.client().put("a", "1");
    let mut body = first;
    while let Some(chunk) = connection.chunk().expect("the chunk is whole") {
        body.extend_from_slice(&chunk);
    }
    let records: Vec<Value> = serde_json::from_slice(&body).expect("an array");
    let versions: Vec<_> = records.iter().map(|r| r["version"].as_u64()).collect();
    assert_eq!(versions, (1..=2_000).map(Some).collect::<Vec<_>>());
}

/// A disk changes a byte under a running server. The damaged record is refused on every page that
/// contains it, everything else works, and the projection is not rebuilt.
#[test]
fn record_damaged_on_disk_is_refused_and_the_rest_is_readable() {
    let server = Server::start();
    for data in ["\"first\"", "\"needle in the log\"", "\"third\""] {
        server.client().put("a", data);
    }
    server.client().put("b", "1");
    let whole = server.client().lines("/audit/a");
    let segment = server.data_dir().join("journal/00000000000000000001.seg");
    let at = fs::read(&segment).expect("a segment");
    let at = at.windows(6).position(|bytes| bytes == b"needle").expect("it is in the log");
    let write = |byte: &[u8]| {
        let file = OpenOptions::new().write(true).open(&segment).expect("a segment");
        file.write_all_at(byte, at as u64).expect("written");
    };
    write(b"N");
    for _ in 0..10 {
        server.client().get("/audit/a/2").problem(503, "storage-failed");
    }
    for (target, versions) in [("/audit/a?limit=1", 1), ("/audit/a?after_version=2", 1)] {
        assert_eq!(server.client().lines(target).len(), versions);
    }
    server.client().get("/audit/a/3").expect(200);
    server.client().get("/audit/b/1").expect(200);
    server.client().put("a", "4");
    let health = server.client().health();
    assert_eq!(health["projection"]["state"], "ready", "{health}");
    assert_eq!(health["projection"]["ids_readable"], true, "{health}");
    write(b"n");
    assert_eq!(server.client().lines("/audit/a")[..3], whole);
    let entries = fs::read_dir(server.data_dir()).expect("a directory");
    assert!(!entries.flatten().any(|entry| entry.file_name() == "projection.quarantined-1"));
}

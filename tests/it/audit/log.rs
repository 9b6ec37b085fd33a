//! `GET /log`: all records in order.

use serde_json::Value;

use crate::harness::server::Server;

fn parsed(lines: &[String]) -> Vec<Value> {
    lines.iter().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn seqs(lines: &[String]) -> Vec<u64> {
    parsed(lines).iter().map(|record| record["seq"].as_u64().expect("a seq")).collect()
}

#[test]
fn log_has_no_gaps_and_shows_only_seq_and_hash_of_private_records() {
    let server = Server::start();
    let client = server.client();
    client.put("a", "1");
    client.insert("{\"event\":\"a\",\"data\":\"secret\",\"to\":\"ann\"}").expect(201);
    client.put("b", "2");
    let lines = client.lines("/log");
    assert_eq!(seqs(&lines), [1, 2, 3, 4]);
    let records = parsed(&lines);
    assert_eq!(records[0]["event"], "broker:open", "system records are in the log");
    let hidden: Vec<_> = records[2].as_object().expect("an object").keys().collect();
    assert_eq!(hidden, ["hash", "seq"]);
    assert_eq!(records[3], client.get("/audit/b/1").json());
}

#[test]
fn after_and_limit_select_a_range() {
    let server = Server::start();
    for n in 0..9 {
        server.client().put("a", &n.to_string());
    }
    for (query, expected) in [
        ("after=0", (1..=10).collect::<Vec<u64>>()),
        ("after=7", vec![8, 9, 10]),
        ("after=10", vec![]),
        ("after=18446744073709551615", vec![]),
        ("limit=2", vec![1, 2]),
        ("after=4&limit=3", vec![5, 6, 7]),
        ("after=8&limit=18446744073709551615", vec![9, 10]),
    ] {
        assert_eq!(seqs(&server.client().lines(&format!("/log?{query}"))), expected, "{query}");
    }
    for query in ["after=x", "after=-1", "limit=0", "since=1"] {
        server.client().get(&format!("/log?{query}")).problem(400, "malformed-query");
    }
}

#[test]
fn log_continues_across_restarts_and_records_every_open() {
    let server = Server::start();
    server.client().put("a", "1");
    let before = server.client().lines("/log");
    let server = server.restart();
    server.client().put("a", "2");
    let lines = server.client().lines("/log");
    assert_eq!(lines[..2], before[..], "no byte has changed");
    let events: Vec<_> = parsed(&lines).iter().map(|record| record["event"].clone()).collect();
    assert_eq!(events, ["broker:open", "a", "broker:open", "a"]);
}

#[test]
fn log_of_many_segments_is_streamed_whole_or_from_any_seq() {
    let server = Server::start();
    let data = format!("\"{}\"", "x".repeat(20_000));
    for _ in 0..100 {
        server.client().put("a", &data);
    }
    assert_eq!(seqs(&server.client().lines("/log")), (1..=101).collect::<Vec<_>>());
    for after in [1, 50, 52, 53, 99] {
        let lines = server.client().lines(&format!("/log?after={after}"));
        assert_eq!(seqs(&lines), (after + 1..=101).collect::<Vec<_>>());
    }
}

//! Batches: decided in order, and stored whole or not at all.

use std::num::NonZeroUsize;

use serde_json::Value;
use uuid::Uuid;

use crate::harness::server::{Server, small};

#[test]
fn batch_is_decided_in_order_and_answered_with_an_array() {
    let server = Server::start();
    let answer = server.client().insert(
        "[{\"event\":\"a\",\"data\":1},{\"event\":\"b\",\"data\":2,\"expected_version\":0},\
          {\"event\":\"a\",\"data\":3,\"expected_version\":1},\
          {\"event\":\"a\",\"data\":4,\"to\":\"ann\",\"expected_version\":0}]",
    );
    let receipts = answer.expect(201).json();
    let decided: Vec<_> = receipts
        .as_array()
        .expect("an array")
        .iter()
        .map(|r| (r["seq"].as_u64(), r["event"].as_str(), r["version"].as_u64()))
        .collect();
    assert_eq!(
        decided,
        [
            (Some(2), Some("a"), Some(1)),
            (Some(3), Some("b"), Some(1)),
            (Some(4), Some("a"), Some(2)),
            (Some(5), Some("a"), Some(1)),
        ]
    );
    let times: Vec<_> =
        receipts.as_array().expect("an array").iter().map(|r| &r["timestamp"]).collect();
    assert!(times.windows(2).all(|pair| pair[0] == pair[1]), "a batch has one time: {times:?}");
}

#[test]
fn batch_of_one_is_answered_with_an_array() {
    let server = Server::start();
    let answer = server.client().insert(" [{\"event\":\"a\",\"data\":1}]").expect(201);
    assert_eq!(answer.json().as_array().map(Vec::len), Some(1));
}

#[test]
fn one_refused_event_refuses_the_whole_batch() {
    let server = Server::start();
    let client = server.client();
    client.put("a", "0");
    let before = client.lines("/log");
    let mismatch = "[{\"event\":\"a\",\"data\":1},{\"event\":\"b\",\"data\":1},\
                     {\"event\":\"a\",\"data\":2,\"expected_version\":1}]";
    let problem = client.insert(mismatch).problem(409, "version-mismatch");
    assert_eq!((&problem["index"], &problem["current_version"]), (&2.into(), &2.into()));
    let invalid = "[{\"event\":\"a\",\"data\":1},{\"event\":\"b c\",\"data\":1}]";
    assert_eq!(client.insert(invalid).problem(422, "invalid-event")["index"], 1);
    client.insert("[{\"event\":\"a\",\"data\":1},2]").problem(422, "invalid-event");
    client.insert("[{\"event\":\"a\",\"data\":1},[]]").problem(422, "invalid-event");
    assert_eq!(client.lines("/log"), before);
    assert_eq!(client.put("a", "1")["version"], 2, "versions of a refused batch are not used up");
}

#[test]
fn fully_seen_batch_is_200_and_partly_seen_batch_is_409() {
    let server = Server::start();
    let client = server.client();
    let ids: Vec<_> = (0..3).map(|_| Uuid::now_v7()).collect();
    let one = |n: usize| format!("{{\"event\":\"a\",\"data\":{n},\"id\":\"{}\"}}", ids[n]);
    let batch = format!("[{},{}]", one(0), one(1));
    let original = client.insert(&batch).expect(201).json();
    assert_eq!(client.insert(&batch).expect(200).json(), original);

    let partly = format!("[{},{}]", one(1), one(2));
    assert_eq!(client.insert(&partly).problem(409, "partly-seen")["seen"], 1);
    // An event without an id counts as not seen.
    let partly = format!("[{},{{\"event\":\"a\",\"data\":9}}]", one(1));
    client.insert(&partly).problem(409, "partly-seen");
    // Each event on its own can be retried.
    assert_eq!(client.insert(one(1)).expect(200).json(), original[1]);
    assert_eq!(client.lines("/audit/a").len(), 2);
    client.insert(format!("[{}]", one(2))).expect(201);
}

#[test]
fn batch_reusing_an_id_for_another_insert_is_409() {
    let server = Server::start();
    let id = Uuid::now_v7();
    server.client().insert(format!("{{\"event\":\"a\",\"data\":1,\"id\":\"{id}\"}}")).expect(201);
    let other =
        format!("[{{\"event\":\"b\",\"data\":1}},{{\"event\":\"a\",\"data\":2,\"id\":\"{id}\"}}]");
    assert_eq!(server.client().insert(other).problem(409, "id-taken")["index"], 1);
    server.client().get("/audit/b").problem(404, "unknown-event");
}

#[test]
fn repeated_id_empty_batch_and_too_long_batch_are_422() {
    let server = Server::with(small().max_batch(NonZeroUsize::new(3).expect("not 0")));
    let client = server.client();
    let one = format!("{{\"event\":\"a\",\"data\":1,\"id\":\"{}\"}}", Uuid::now_v7());
    let problem = client.insert(format!("[{one},{one}]")).problem(422, "id-twice");
    assert_eq!(problem["index"], 1);
    client.insert("[]").problem(422, "empty-batch");
    client.insert(" [ ] ").problem(422, "empty-batch");
    let item = "{\"event\":\"a\",\"data\":1}";
    let long = format!("[{}]", [item; 4].join(","));
    assert_eq!(client.insert(long).problem(422, "batch-too-long")["limit"], 3);
    client.get("/audit/a").problem(404, "unknown-event");
    client.insert(format!("[{}]", [item; 3].join(","))).expect(201);
}

#[test]
fn batch_becomes_visible_atomically() {
    let server = Server::start();
    let client = server.client();
    let mut live = server.events("?event=batch.*");
    live.until_synced();
    let batch: Vec<_> =
        (0..50).map(|n| format!("{{\"event\":\"batch.{n}\",\"data\":{n}}}")).collect();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            loop {
                let latest: Value = client.get("/latest?event=batch.*").expect(200).json();
                let records = latest["records"].as_array().expect("an array").len();
                assert!(matches!(records, 0 | 50), "half a batch is visible: {records}");
                if records == 50 {
                    break;
                }
            }
        });
        client.insert(format!("[{}]", batch.join(","))).expect(201);
        reader.join().expect("no panic");
    });
    let names: Vec<_> = (0..50).map(|_| live.block().event.expect("a name")).collect();
    assert_eq!(names[49], "batch.49");
}

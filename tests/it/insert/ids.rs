//! Ids make retries safe, forever.

use std::fs;

use serde_json::Value;

use crate::harness::server::{Server, small};
use crate::harness::wait::wait_until;
use crate::harness::wire::Client;

const ID: &str = "0198c0de-7a31-7cc2-9f0e-1d2f3a4b5c6d";

fn with_id(event: &str, data: &str, more: &str) -> String {
    format!("{{\"event\":\"{event}\",\"data\":{data},\"id\":\"{ID}\"{more}}}")
}

/// Asserts that a retry gets the original receipt, and any other insert with this id is refused.
fn assert_remembered(client: Client, original: &Value) {
    for more in ["", ",\"expected_version\":0", ",\"expected_version\":77"] {
        let answer = client.insert(with_id("a", "{\"x\":1}", more)).expect(200);
        assert_eq!(answer.json(), *original, "with {more:?}");
        assert_eq!(answer.header("location"), Some("/audit/a/1"));
    }
    // The same bytes except for insignificant whitespace.
    let spaced = client.insert(with_id("a", "{ \"x\" : 1 }", "")).expect(200);
    assert_eq!(spaced.json(), *original);
    for other in [
        with_id("a", "{\"x\":2}", ""),
        with_id("a", "{\"x\":1.0}", ""),
        with_id("b", "{\"x\":1}", ""),
        with_id("a", "{\"x\":1}", ",\"to\":\"ann\""),
    ] {
        let problem = client.insert(&other).problem(409, "id-taken");
        assert_eq!(problem["id"], ID, "{other}");
    }
}

#[test]
fn retry_with_a_seen_id_gets_the_original_receipt() {
    let server = Server::start();
    let original = server.client().insert(with_id("a", "{\"x\":1}", "")).expect(201).json();
    assert_eq!(original["id"], ID);
    server.client().put("a", "2");
    assert_remembered(server.client(), &original);
    assert_eq!(server.client().lines("/audit/a").len(), 2, "nothing was appended");
}

#[test]
fn ids_survive_a_restart_and_a_deleted_projection() {
    let server = Server::start();
    let original = server.client().insert(with_id("a", "{\"x\":1}", "")).expect(201).json();
    let server = server.restart();
    assert_remembered(server.client(), &original);
    let server = server.restart_after(|data| {
        fs::remove_dir_all(data.join("projection")).expect("there is a projection");
    });
    wait_until("the ids are readable", || {
        server.client().insert(with_id("a", "{\"x\":1}", "")).status == 200
    });
    assert_remembered(server.client(), &original);
    assert_eq!(server.client().lines("/audit/a").len(), 1);
}

#[test]
fn id_is_recognised_in_upper_case() {
    let server = Server::start();
    let original = server.client().insert(with_id("a", "1", "")).expect(201).json();
    let upper = with_id("a", "1", "").replace(ID, &ID.to_ascii_uppercase());
    assert_eq!(server.client().insert(upper).expect(200).json(), original);
}

#[test]
fn concurrent_inserts_with_one_id_append_once() {
    let server = Server::start();
    for round in 0..10 {
        let id = uuid::Uuid::now_v7();
        let body = format!("{{\"event\":\"race\",\"data\":{round},\"id\":\"{id}\"}}");
        let answers: Vec<_> = std::thread::scope(|scope| {
            let client = server.client();
            let body = &body;
            let senders: Vec<_> =
                (0..6).map(|_| scope.spawn(move || client.insert(body))).collect();
            senders.into_iter().map(|sender| sender.join().expect("no panic")).collect()
        });
        let fresh = answers.iter().filter(|answer| answer.status == 201).count();
        let known = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!((fresh, known), (1, 5), "{answers:?}");
        assert!(answers.iter().all(|answer| answer.json() == answers[0].json()));
    }
    assert_eq!(server.client().lines("/audit/race").len(), 10);
}

#[test]
fn refused_insert_does_not_use_up_its_id() {
    let server = Server::start();
    let refused = with_id("a", "1", ",\"expected_version\":9");
    server.client().insert(refused).problem(409, "version-mismatch");
    assert_eq!(server.client().insert(with_id("b", "2", "")).expect(201).json()["id"], ID);
}

#[test]
fn every_id_of_a_long_history_is_remembered() {
    let server = Server::with(small().window_bytes(1 << 10));
    let ids: Vec<_> = (0..500).map(|_| uuid::Uuid::now_v7()).collect();
    let bodies: Vec<_> =
        ids.iter().map(|id| format!("{{\"event\":\"a\",\"data\":1,\"id\":\"{id}\"}}")).collect();
    for batch in bodies.chunks(100) {
        server.client().insert(format!("[{}]", batch.join(","))).expect(201);
    }
    let server = server.restart();
    for batch in bodies.chunks(100) {
        server.client().insert(format!("[{}]", batch.join(","))).expect(200);
    }
    assert_eq!(server.client().lines("/audit/a").len(), 500);
}

/// A client that lost the answer to an insert without an id finds the id in the stream and in the
/// history, and can retry with it.
#[test]
fn server_generated_ids_are_recognised_at_once_and_forever() {
    let server = Server::start();
    let originals: Vec<_> = (0..50)
        .map(|n| {
            let body = format!("{{\"event\":\"a.{}\",\"data\":{n}}}", n % 3);
            server.client().insert(body).expect(201).json()
        })
        .collect();
    let body = |n: usize, data: usize| {
        let id = originals[n]["id"].as_str().expect("an id");
        format!("{{\"event\":\"a.{}\",\"data\":{data},\"id\":\"{id}\"}}", n % 3)
    };
    let assert_known = |client: Client| {
        for (n, original) in originals.iter().enumerate() {
            assert_eq!(client.insert(body(n, n)).expect(200).json(), *original);
        }
        let batch: Vec<_> = (0..50).map(|n| body(n, n)).collect();
        assert_eq!(
            client.insert(format!("[{}]", batch.join(","))).expect(200).json(),
            Value::from(originals.clone())
        );
        client.insert(body(7, 8)).problem(409, "id-taken");
    };
    assert_known(server.client());
    let server = server.restart();
    assert_known(server.client());
    // Also while the history is rebuilt: these ids are looked up in the log.
    let server = server.restart_after(|data| {
        fs::remove_dir_all(data.join("projection")).expect("there is a projection");
    });
    assert_known(server.client());
    let total: usize = (0..3).map(|n| server.client().lines(&format!("/audit/a.{n}")).len()).sum();
    assert_eq!(total, 50, "nothing was appended");
}

/// Server-generated ids encode a seq. A client's id with such a seq, existing or not, is an
/// ordinary id.
#[test]
fn client_ids_that_look_server_generated_are_new_until_used() {
    let server = Server::start();
    let made = server.client().insert("{\"event\":\"a\",\"data\":0}").expect(201).json();
    let made = made["id"].as_str().expect("an id").to_owned();
    let seqs = [1u64, 2, 3, 4, 5, 6, 7, 8, 1_000_000, (1 << 40) - 1];
    let bodies: Vec<_> = seqs
        .iter()
        .map(|seq| {
            // The time, version and variant of a generated id, with other random bits.
            let id = format!("{}aaa-8bbb-bb{seq:010x}", &made[..15]);
            format!("{{\"event\":\"b\",\"data\":{seq},\"id\":\"{id}\"}}")
        })
        .collect();
    let fresh: Vec<_> =
        bodies.iter().map(|body| server.client().insert(body).expect(201).json()).collect();
    let check = |client: Client| {
        for (body, receipt) in bodies.iter().zip(&fresh) {
            assert_eq!(client.insert(body).expect(200).json(), *receipt);
            client.insert(body.replace("\"b\"", "\"c\"")).problem(409, "id-taken");
        }
    };
    check(server.client());
    let server = server.restart();
    server.client().wait_for_ids();
    check(server.client());
    assert_eq!(server.client().lines("/audit/b").len(), seqs.len());
}

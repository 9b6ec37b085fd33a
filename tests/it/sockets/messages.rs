//! Messages of a client: topics, inserts, ping.

use serde_json::{Value, json};

use crate::harness::server::{Server, small};
use crate::harness::socket::{Socket, summary};

/// A socket that receives nothing but answers.
fn quiet(server: &Server) -> Socket {
    let mut socket = Socket::open(server, "/ws?event=nothing.at.all");
    assert_eq!(summary(&socket.until_synced()), "synced");
    socket
}

#[test]
fn changing_topics_sends_reset_replay_and_synced() {
    let server = Server::start();
    for event in ["a", "b", "a", "c.d"] {
        server.client().put(event, "1");
    }
    for (replay, of_b, of_a) in [
        ("latest", "reset b1 c.d1 synced", "reset a2 synced"),
        ("none", "reset b1 c.d1 synced", "reset a2 synced"),
        ("all", "reset b1 c.d1 synced", "reset a1 a2 synced"),
    ] {
        let mut socket = Socket::open(&server, &format!("/ws?event=a&replay={replay}"));
        socket.until_synced();
        socket.send("{\"topics\":[\"b\",\"c.*\"],\"ref\":\"x\"}");
        let messages = socket.until_synced();
        assert_eq!(summary(&messages), of_b, "{replay}");
        assert_eq!(messages[0]["ref"], "x", "the reset belongs to the message");
        assert_eq!(messages.last().expect("synced")["synced"]["events"], 2, "a new count");
        socket.send("{\"topics\":[\"a\"]}");
        let messages = socket.until_synced();
        assert_eq!(summary(&messages), of_a, "{replay}");
        assert_eq!(messages[0].get("ref"), None);
    }
}

#[test]
fn records_after_a_reset_belong_to_the_new_topics() {
    let server = Server::start();
    let mut socket = Socket::open(&server, "/ws?event=old");
    socket.until_synced();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..200 {
                server.client().put("old", &n.to_string());
                server.client().put("new", &n.to_string());
            }
            server.client().put("new", "\"end\"");
        });
        socket.send("{\"topics\":[\"new\"]}");
        let messages = socket.until(|message| message["record"]["data"] == "end");
        let reset = messages.iter().position(|message| message.get("reset").is_some());
        let (before, after) = messages.split_at(reset.expect("a reset"));
        let of = |messages: &[Value], event: &str| {
            messages.iter().filter_map(|m| m["record"]["event"].as_str()).all(|e| e == event)
        };
        assert!(of(before, "old") && of(after, "new"), "{messages:?}");
        assert_eq!(messages.last().expect("the end")["record"]["version"], 201);
    });
}

#[test]
fn cursor_after_a_change_is_valid_for_the_new_topics() {
    let server = Server::start();
    server.client().put("a", "1");
    let mut socket = quiet(&server);
    socket.send("{\"topics\":[\"a\"]}");
    let synced = socket.until_synced().pop().expect("synced");
    let cursor = synced["synced"]["cursor"].as_str().expect("a cursor");
    let mut again = Socket::open(&server, &format!("/ws?event=a&last_event_id={cursor}"));
    assert_eq!(summary(&again.until_synced()), "synced", "the cursor is valid");
}

#[test]
fn every_topic_change_is_answered_even_when_superseded() {
    let server = Server::start();
    server.client().put("a", "1");
    let mut socket = quiet(&server);
    for n in 0..50 {
        socket.send(format!("{{\"topics\":[\"a\",\"n{n}\"],\"ref\":{n}}}"));
    }
    let mut resets = 0;
    while resets < 50 {
        let message = socket.json();
        if message.get("reset").is_some() {
            assert_eq!(message["ref"], resets);
            resets += 1;
        }
    }
    assert_eq!(summary(&socket.until_synced()), "a1 synced");
}

#[test]
fn insert_is_answered_with_the_same_receipt_as_a_post() {
    let server = Server::start();
    let mut socket = quiet(&server);
    let id = "0198c0de-7a31-7cc2-9f0e-1d2f3a4b5c6d";
    let insert = format!("{{\"event\":\"a\",\"data\":{{\"x\": 1e5}},\"id\":\"{id}\"}}");
    socket.send(format!("{{\"insert\":{insert},\"ref\":7}}"));
    let first = socket.text();
    let posted = server.client().insert(&insert).expect(200);
    assert_eq!(first, format!("{{\"receipt\":{},\"ref\":7}}", posted.text()));
    socket.send(format!("{{\"insert\":{insert}}}"));
    assert_eq!(socket.text(), format!("{{\"receipt\":{}}}", posted.text()), "a retry is safe");
    let record = server.client().get("/audit/a/1").expect(200);
    assert!(record.text().contains("\"data\":{\"x\":1e5},"), "kept byte for byte");
}

#[test]
fn batch_is_answered_with_an_array_and_stored_atomically() {
    let server = Server::start();
    let mut socket = quiet(&server);
    let answer =
        socket.ask("{\"insert\":[{\"event\":\"a\",\"data\":1},{\"event\":\"b\",\"data\":2}]}");
    let receipts = answer["receipt"].as_array().expect("an array");
    assert_eq!(receipts.len(), 2);
    assert_eq!(receipts[1]["event"], "b");
    let answer = socket.ask(
        "{\"insert\":[{\"event\":\"c\",\"data\":1},\
         {\"event\":\"a\",\"data\":2,\"expected_version\":9}],\"ref\":\"both\"}",
    );
    assert_eq!(answer["problem"]["code"], "version-mismatch");
    assert_eq!((&answer["problem"]["index"], &answer["ref"]), (&json!(1), &json!("both")));
    server.client().get("/audit/c").problem(404, "unknown-event");
}

#[test]
fn refused_insert_gets_the_same_problem_as_a_post() {
    let server = Server::with(small().max_body_bytes(4 << 10));
    server.client().put("a", "1");
    let mut socket = quiet(&server);
    for (insert, status, code) in [
        ("{\"event\":\"a*\",\"data\":1}", 422, "invalid-event"),
        ("{\"event\":\"a\"}", 422, "invalid-event"),
        ("{\"event\":\"a\",\"data\":1,\"x\":1}", 422, "invalid-event"),
        ("{\"event\":\"a\",\"data\":1,\"to\":null}", 422, "invalid-event"),
        ("{\"event\":\"a\",\"data\":1,\"id\":\"x\"}", 422, "invalid-event"),
        ("{\"event\":\"broker:x\",\"data\":1}", 422, "invalid-event"),
        ("7", 422, "invalid-event"),
        ("[]", 422, "empty-batch"),
        ("[{\"event\":\"a\",\"data\":1},7]", 422, "invalid-event"),
        ("{\"event\":\"a\",\"data\":1,\"expected_version\":7}", 409, "version-mismatch"),
    ] {
        let problem = server.client().insert(insert).problem(status, code);
        let answer = socket.ask(format!("{{\"insert\":{insert},\"ref\":\"r\"}}"));
        assert_eq!(answer, json!({"problem": problem, "ref": "r"}), "{insert}");
    }
    assert_eq!(socket.ask("{\"insert\":{\"event\":\"a\",\"data\":2}}")["receipt"]["version"], 2);
}

#[test]
fn insert_has_the_depth_limit_of_a_post() {
    let server = Server::with(small().max_depth(5));
    let mut socket = quiet(&server);
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (depth, is_taken) in [(5, true), (6, false)] {
        let one = format!("{{\"event\":\"a\",\"data\":{}}}", deep(depth));
        let batch = format!("[{one}]");
        for insert in [one, batch] {
            let posted = server.client().insert(&insert).status;
            assert_eq!(posted == 201, is_taken, "{insert}");
            let answer = socket.ask(format!("{{\"insert\":{insert}}}"));
            assert_eq!(answer.get("receipt").is_some(), is_taken, "{insert}: {answer}");
            if !is_taken {
                assert_eq!(answer["problem"]["code"], "malformed-json");
            }
        }
    }
}

#[test]
fn pipelined_inserts_are_decided_and_answered_in_order() {
    let server = Server::start();
    let mut socket = quiet(&server);
    for n in 0..500 {
        // Some have ids, which are looked up first.
        let id = match n % 3 {
            0 => format!(",\"id\":\"{}\"", uuid::Uuid::new_v4()),
            _ => String::new(),
        };
        socket.send(format!("{{\"insert\":{{\"event\":\"a\",\"data\":{n}{id}}},\"ref\":{n}}}"));
    }
    for n in 0..500_u64 {
        let answer = socket.json();
        assert_eq!(answer["ref"], n, "{answer}");
        assert_eq!(answer["receipt"]["version"], n + 1, "{answer}");
    }
}

#[test]
fn all_messages_are_answered_in_order() {
    let server = Server::start();
    let mut socket = quiet(&server);
    for n in 0..100 {
        let id = uuid::Uuid::new_v4();
        socket.send(format!(
            "{{\"insert\":{{\"event\":\"b\",\"data\":1,\"id\":\"{id}\"}},\"ref\":{n}}}"
        ));
        socket.send(format!("{{\"insert\":{{\"event\":\"*\",\"data\":1}},\"ref\":{n}}}"));
        socket.send(format!("{{\"topics\":[\"nothing.{n}\"],\"ref\":{n}}}"));
        socket.send("ping");
    }
    for n in 0..100 {
        for answer in ["receipt", "problem", "reset"] {
            // The previous topics may have been synced in between.
            let message = socket.until(|message| message.get("synced").is_none()).pop();
            let message = message.expect("an answer");
            assert!(message.get(answer).is_some() && message["ref"] == n, "{n}: {message}");
        }
        let pong = std::iter::repeat_with(|| socket.text()).find(|text| !text.contains("synced"));
        assert_eq!(pong.as_deref(), Some("pong"));
    }
}

#[test]
fn socket_receives_its_own_inserts() {
    let server = Server::start();
    let mut socket = Socket::open(&server, "/ws");
    socket.until_synced();
    let mut stream = server.events("");
    stream.until_synced();
    socket.send("{\"insert\":{\"event\":\"a\",\"data\":\"hello\"}}");
    let mut messages = [socket.json(), socket.json()];
    messages.sort_by_key(|message| message.get("record").is_none());
    assert_eq!(messages[0]["record"]["data"], "hello");
    assert_eq!(messages[1]["receipt"]["seq"], messages[0]["record"]["seq"]);
    assert_eq!(stream.block().json(), messages[0]["record"]);
}

#[test]
fn invalid_message_gets_a_problem_and_the_socket_stays_open() {
    let server = Server::with(small().max_filters(2_usize.try_into().expect("not 0")));
    let mut socket = quiet(&server);
    let long = format!("{{\"{}\":1}}", "z".repeat(1_000));
    for (message, code, says) in [
        ("", "malformed-json", "there is no JSON value"),
        ("pong", "malformed-json", "line 1, column 1"),
        ("{\"insert\":", "malformed-json", "line 1, column 11"),
        ("{\"ref\":1,\"ref\":2}", "malformed-json", "twice"),
        ("[]", "malformed-message", "send {\"topics\""),
        ("\"ping\"", "malformed-message", "send {\"topics\""),
        ("{}", "malformed-message", "empty"),
        (&long, "malformed-message", "zzzzzzz\" here"),
        ("{\"subscribe\":[]}", "malformed-message", "\"subscribe\""),
        ("{\"topics\":[\"a\"],\"insert\":{}}", "malformed-message", "one of them"),
        ("{\"topics\":\"a\"}", "malformed-message", "array of strings"),
        ("{\"topics\":[7]}", "malformed-message", "array of strings"),
        ("{\"topics\":[]}", "malformed-message", "at least one"),
        ("{\"topics\":[\"a..b\"]}", "malformed-message", "empty token"),
        ("{\"topics\":[\"a\",\"b\",\"c\"]}", "malformed-message", "2"),
        ("{\"topics\":[\"a\"],\"ref\":null}", "malformed-message", "ref: send a string"),
        ("{\"topics\":[\"a\"],\"ref\":[1]}", "malformed-message", "ref: send a string"),
    ] {
        let answer = socket.ask(message);
        let problem = &answer["problem"];
        assert_eq!(problem["code"], code, "{message}: {answer}");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains(says), "{message}: {detail}");
    }
    let long = format!("{{\"topics\":[\"a\"],\"ref\":\"{}\"}}", "x".repeat(127));
    assert_eq!(socket.ask(long)["problem"]["code"], "malformed-message");
    socket.send("ping");
    assert_eq!(socket.text(), "pong");
}

#[test]
fn ref_is_returned_verbatim_even_with_a_problem() {
    let server = Server::start();
    let mut socket = quiet(&server);
    for reference in ["0", "-1.50e3", "\"\"", "\"a\\u00e9\\\"\"", "12345678901234567890123"] {
        socket.send(format!("{{\"ref\":{reference},\"insert\":{{\"event\":\"a\",\"data\":1}}}}"));
        let end = format!(",\"ref\":{reference}}}");
        assert!(socket.text().ends_with(&end), "{reference}");
        socket.send(format!("{{\"ref\":{reference},\"other\":1}}"));
        assert!(socket.text().ends_with(&end), "{reference}");
    }
}

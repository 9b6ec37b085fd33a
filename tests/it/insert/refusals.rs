//! Refused inserts: the answer says what to change, and nothing is stored.

use std::time::Duration;

use crate::harness::server::{Server, small};
use crate::harness::wire::{Client, Connection, JSON, request};

#[test]
fn malformed_json_is_400_with_line_and_column() {
    let server = Server::start();
    for (body, line, column) in [
        ("", 1, 1),
        ("  \n ", 1, 1),
        ("{\"event\":\"a\",\"data\":}", 1, 21),
        ("{\"event\":\"a\",\n \"data\":1,}", 2, 10),
        ("{\"event\":\"a\",\"data\":1}x", 1, 23),
        ("{\"event\":\"é\",\"data\":01}", 1, 21),
        ("{\"event\":\"a\",\n\"data\":[1,\n2", 3, 2),
        ("{'event':'a','data':1}", 1, 2),
        ("\u{feff}{\"event\":\"a\",\"data\":1}", 1, 1),
    ] {
        let problem = server.client().insert(body).problem(400, "malformed-json");
        let detail = problem["detail"].as_str().expect("a sentence");
        assert_eq!(
            (&problem["line"], &problem["column"]),
            (&line.into(), &column.into()),
            "{detail}"
        );
        assert!(detail.starts_with(&format!("line {line}, column {column}: ")), "{detail}");
    }
    assert_eq!(server.client().lines("/log").len(), 1, "only the open's record");
}

#[test]
fn invalid_insert_is_422_and_names_the_member() {
    let server = Server::start();
    for (body, named) in [
        ("{\"event\":\"a\",\"data\":1,\"extra\":2}", "extra"),
        ("{\"event\":\"a\",\"data\":1,\"author\":\"ann\"}", "author"),
        ("{\"event\":\"a\",\"data\":1,\"version\":1}", "version"),
        ("{\"event\":\"a\",\"data\":1,\"Event\":\"b\"}", "Event"),
        ("{\"data\":1}", "event"),
        ("{\"event\":\"a\"}", "data"),
        ("{}", "event"),
        // An array of the values is no event.
        ("[[\"a\",1]]", "event 0 of the batch: send an object with event and data"),
        ("{\"event\":1,\"data\":1}", "string"),
        ("{\"event\":null,\"data\":1}", "string"),
        ("{\"event\":\"a\",\"data\":1,\"id\":\"no uuid\"}", "UUID"),
        ("{\"event\":\"a\",\"data\":1,\"id\":7}", "UUID"),
        ("{\"event\":\"a\",\"data\":1,\"expected_version\":\"1\"}", "u64"),
        ("{\"event\":\"a\",\"data\":1,\"expected_version\":-1}", "u64"),
        ("{\"event\":\"a\",\"data\":1,\"expected_version\":1.5}", "u64"),
        ("{\"event\":\"a\",\"data\":1,\"expected_version\":18446744073709551616}", "u64"),
        ("{\"event\":\"a\",\"data\":1,\"to\":[]}", "string"),
        ("{\"event\":\"a\",\"data\":1,\"to\":\"\"}", "to: "),
        ("{\"event\":\"\",\"data\":1}", "event: "),
        ("{\"event\":\"a..b\",\"data\":1}", "event: "),
        ("1", ""),
        ("\"a\"", ""),
        ("null", ""),
    ] {
        let problem = server.client().insert(body).problem(422, "invalid-event");
        let detail = problem["detail"].as_str().expect("a sentence");
        assert!(detail.to_lowercase().contains(&named.to_lowercase()), "{body}: {detail}");
    }
    assert_eq!(server.client().lines("/log").len(), 1, "only the open's record");
}

#[test]
fn invalid_name_is_422() {
    let server = Server::start();
    let long = "x".repeat(256);
    for name in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a b",
        "a\\tb",
        "a\\nb",
        "a\\u0000b",
        "\\u202ea",
        "a\\u200bb",
        "\\ufeffa",
        "*",
        "a.*",
        ">",
        "a>b",
        "a/b",
        "a\\\\b",
        "a?b",
        "a#b",
        "a%b",
        "open",
        "error",
        "broker:open",
        "broker:synced",
        "broker:",
        "e\\u0301",
        "\\u0378",
        &long,
    ] {
        let body = format!("{{\"event\":\"{name}\",\"data\":1}}");
        let problem = server.client().insert(&body).problem(422, "invalid-event");
        let detail = problem["detail"].as_str().expect("a sentence");
        assert!(detail.starts_with("event: "), "{name}: {detail}");
    }
    for name in ["x".repeat(255).as_str(), "opened", "Error", "open.error", "broker", "é", "a:b"] {
        server.client().put(name, "1");
    }
}

#[test]
fn unsupported_media_type_is_415() {
    let server = Server::start();
    let body = b"{\"event\":\"a\",\"data\":1}";
    for headers in [
        &[][..],
        &["Content-Type: text/plain"],
        &["Content-Type: application/x-www-form-urlencoded"],
        &["Content-Type: application/jsonp"],
        &["Content-Type: application/x-ndjson"],
        &["Content-Type: "],
    ] {
        let answer = server.client().send("POST", "/insert", headers, body);
        answer.problem(415, "unsupported-media-type");
    }
}

#[test]
fn body_declared_too_large_is_413_before_it_is_sent() {
    let server = Server::with(small().max_body_bytes(1 << 10));
    let head = request("POST", "/insert", &[JSON, "Content-Length: 1025"], b"");
    let answer = server.client().raw("POST", &head).expect("an answer");
    assert_eq!(answer.problem(413, "body-too-large")["limit"], 1_024);
    let fitting = format!("{{\"event\":\"a\",\"data\":\"{}\"}}", "x".repeat(1_023 - 23));
    assert_eq!(fitting.len(), 1_023);
    server.client().insert(format!("{fitting} ")).expect(201);
}

#[test]
fn chunked_body_that_grows_too_large_is_413() {
    let server = Server::with(small().max_body_bytes(1 << 10));
    let mut connection = server.connect();
    connection.send(request("POST", "/insert", &[JSON, "Transfer-Encoding: chunked"], b""));
    for _ in 0..5 {
        connection.send(format!("100\r\n{}\r\n", "x".repeat(256)));
    }
    let answer = connection.answer("POST").expect("an answer");
    assert_eq!(answer.problem(413, "body-too-large")["limit"], 1_024);
}

#[test]
fn chunked_body_is_accepted() {
    let server = Server::start();
    let mut connection = server.connect();
    connection.send(request("POST", "/insert", &[JSON, "Transfer-Encoding: chunked"], b""));
    for piece in ["{\"event\":\"a\",", "\"da", "ta\":1}"] {
        connection.send(format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    connection.send("0\r\n\r\n");
    connection.answer("POST").expect("an answer").expect(201);
}

#[test]
fn unfinished_body_is_408() {
    let server = Server::with(small().body_timeout(Duration::from_secs(1)));
    std::thread::scope(|scope| {
        for (framing, begun) in [
            ("Content-Length: 30", ""),
            ("Content-Length: 30", "{\"event\":\"a\",\"da"),
            ("Transfer-Encoding: chunked", "5\r\n{\"eve\r\n"),
        ] {
            let mut connection = server.connect();
            scope.spawn(move || {
                connection.send(request("POST", "/insert", &[JSON, framing], b""));
                connection.send(begun);
                let answer = connection.answer("POST").expect("an answer");
                answer.problem(408, "body-timeout");
            });
        }
    });
    assert_eq!(server.client().lines("/log").len(), 1);
}

/// Regression: the clock for request heads has a resolution of half a second, and a shorter body
/// timeout made the server answer 408 to prompt requests.
#[test]
fn short_body_timeout_refuses_no_prompt_request() {
    let server = Server::with(small().body_timeout(Duration::from_millis(100)));
    for n in 0..60 {
        let mut connection = server.connect();
        // When this is answered, the connection above is accepted.
        server.client().get("/livez").expect(200);
        let body = format!("{{\"event\":\"a\",\"data\":{n}}}");
        connection.send(request("POST", "/insert", &[JSON], body.as_bytes()));
        connection.answer("POST").expect("an answer").expect(201);
    }
}

#[test]
fn truncated_body_stores_nothing() {
    let server = Server::start();
    let whole = "{\"event\":\"a\",\"data\":1}";
    let mut connection = Connection::open(server.address);
    connection.send(request("POST", "/insert", &[JSON, "Content-Length: 40"], whole.as_bytes()));
    drop(connection);
    // The server accepts connections in order, so it has seen the truncated body before this one.
    server.client().put("b", "1");
    server.client().get("/audit/a").problem(404, "unknown-event");
}

#[test]
fn new_event_beyond_max_events_is_507_and_existing_ones_accept_inserts() {
    let server = Server::with(small().max_events(2));
    let client = server.client();
    client.put("a", "1");
    client.put("b", "1");
    for new in [
        "{\"event\":\"c\",\"data\":1}",
        "{\"event\":\"a\",\"data\":1,\"to\":\"ann\"}",
        "[{\"event\":\"a\",\"data\":2},{\"event\":\"c\",\"data\":1}]",
    ] {
        let problem = client.insert(new).problem(507, "limit-reached");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains('2')), "{problem}");
    }
    assert_eq!(client.put("a", "2")["version"], 2, "nothing of the refused batch was stored");
    let server = server.restart();
    server.client().insert("{\"event\":\"c\",\"data\":1}").problem(507, "limit-reached");
    assert_eq!(server.client().put("b", "2")["version"], 2);
}

#[test]
fn new_event_beyond_max_latest_bytes_is_507_and_existing_ones_accept_inserts() {
    let server = Server::with(small().max_latest_bytes(1 << 10));
    let client = server.client();
    let large = format!("\"{}\"", "x".repeat(900));
    client.put("a", &large);
    let body = format!("{{\"event\":\"b\",\"data\":{large}}}");
    client.insert(body).problem(507, "limit-reached");
    assert_eq!(client.put("a", "\"small\"")["version"], 2);
    client.put("b", &large);
    assert_eq!(client.put("b", "1")["version"], 2);
}

#[test]
fn full_queue_is_503_with_retry_after_and_loses_nothing_acknowledged() {
    let server = Server::with(small().max_body_bytes(1 << 10).queue_bytes(1 << 10));
    let client = server.client();
    let data = format!("\"{}\"", "x".repeat(600));
    let acknowledged: usize = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..8)
            .map(|n| {
                let data = &data;
                scope.spawn(move || {
                    let body = format!("{{\"event\":\"e{n}\",\"data\":{data}}}");
                    (0..20).filter(|_| inserted_or_queue_full(client, &body)).count()
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().expect("no panic")).sum()
    });
    let stored = client.lines("/log").len() - 1;
    assert_eq!(stored, acknowledged);
    assert!(acknowledged > 0);
}

fn inserted_or_queue_full(client: Client, body: &str) -> bool {
    let answer = client.insert(body);
    if answer.status == 201 {
        return true;
    }
    answer.problem(503, "queue-full");
    assert!(answer.header("retry-after").is_some());
    false
}

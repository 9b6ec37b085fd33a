//! Clients that occupy connections, and requests that are not quite HTTP.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::harness::server::{Server, small};
use crate::harness::stream::EventStream;
use crate::harness::wire::{Connection, JSON, request};

/// Slowloris: a request head that is never finished occupies a connection forever.
#[test]
fn unfinished_request_head_times_out_while_others_are_served() {
    let server = Server::with(small().body_timeout(Duration::from_secs(1)));
    let mut slow: Vec<Connection> = (0..50).map(|_| server.connect()).collect();
    for connection in &mut slow {
        connection.send("GET /health HTTP/1.1\r\nHost: loc");
    }
    server.client().put("a", "1");
    for connection in &mut slow {
        if let Some((status, _)) = connection.head() {
            assert_eq!(status, 408);
        }
        assert_eq!(connection.rest(), b"", "the connection is closed");
    }
}

/// Memory exhaustion: a request head of megabytes.
#[test]
fn huge_request_head_is_refused() {
    let server = Server::start();
    for head in [
        format!("GET /latest?event={} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(2 << 20)),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(2 << 20)),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(100_000)),
    ] {
        let mut connection = server.connect();
        // The server may close the connection before everything is sent.
        connection.send(head);
        if let Some((status, _)) = connection.head() {
            assert!((400..500).contains(&status), "{status}");
        }
    }
    server.client().get("/livez").expect(200);
}

/// Request smuggling: with two lengths, or a length and chunks, a proxy and the server disagree on
/// where the next request begins.
#[test]
fn ambiguous_body_length_is_refused() {
    let server = Server::start();
    let inner = "{\"event\":\"a\",\"data\":1}";
    for lengths in [
        "Content-Length: 22\r\nContent-Length: 5",
        "Content-Length: 22, 5",
        "Content-Length: +22",
        "Content-Length: -1",
        "Content-Length: 0x16",
        "Content-Length: 99999999999999999999",
        "Content-Length: 22\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
    ] {
        let head = format!(
            "POST /insert HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             {lengths}\r\n\r\n{inner}"
        );
        let mut connection = server.connect();
        connection.send(head);
        let status = connection.head().map(|(status, _)| status);
        assert!(status.is_none_or(|status| (400..500).contains(&status)), "{lengths}: {status:?}");
    }
    server.client().get("/audit/a").problem(404, "unknown-event");
}

/// Other protocols, such as TLS and HTTP/2, and garbage on the HTTP port.
#[test]
fn non_http_bytes_get_an_error_or_no_response() {
    let server = Server::start();
    let garbage: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n\0\0\0\0",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    for garbage in garbage {
        let mut connection = server.connect();
        connection.send(garbage);
        connection.send("\r\n\r\n");
        if let Some((status, _)) = connection.head() {
            assert!((400..600).contains(&status), "{garbage:?}: {status}");
        }
    }
    server.client().get("/livez").expect(200);
}

/// Method probing: unsupported methods must not reach a handler.
#[test]
fn wrong_method_is_405_and_lists_the_allowed_ones() {
    let server = Server::start();
    server.client().put("a", "1");
    let read = [
        "/latest",
        "/audit",
        "/audit/a",
        "/audit/a/1",
        "/log",
        "/health",
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/",
    ];
    for method in ["PUT", "DELETE", "PATCH", "POST", "TRACE", "CONNECT", "FOO", "OPTIONS"] {
        for target in read {
            let answer = server.client().send(method, target, &[], b"");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method} {target}: {answer:?}");
            answer.problem(405, "method-not-allowed");
        }
        let answer = server.client().send(method, "/events", &[], b"");
        assert_eq!(answer.header("allow"), Some("GET"), "{method}");
        answer.problem(405, "method-not-allowed");
        server.client().send(method, "/nothing", &[], b"").problem(404, "not-found");
    }
    for method in ["GET", "PUT", "DELETE"] {
        let answer = server.client().send(method, "/insert", &[], b"");
        assert_eq!(answer.header("allow"), Some("POST"));
        answer.problem(405, "method-not-allowed");
    }
    assert_eq!(server.client().lines("/audit/a").len(), 1);
}

/// A `HEAD` answer with a body would desynchronise the connection. `HEAD` is `GET` without a body,
/// for refusals too.
#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let server = Server::start();
    server.client().put("a", "1");
    for target in [
        "/latest",
        "/audit",
        "/audit/a",
        "/audit/a/1",
        "/log",
        "/health",
        "/livez",
        "/",
        "/nothing",
        "/audit/b",
        "/audit/a/9",
        "/latest?x=1",
    ] {
        let get = server.client().get(target);
        let mut connection = server.connect();
        connection.send(request("HEAD", target, &["Connection: close"], b""));
        let (status, headers) = connection.head().expect("an answer");
        assert_eq!(status, get.status, "{target}");
        for name in ["content-type", "etag", "cache-control", "link", "content-security-policy"] {
            assert_eq!(headers.find(name), get.header(name), "{name} of {target}");
        }
        assert_eq!(connection.rest(), b"", "{target} has no body");
    }
    for target in ["/events", "/insert"] {
        let answer = server.client().send("HEAD", target, &[], b"");
        assert_eq!(answer.status, 405);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
}

/// Range and conditional headers of caches and tools must not truncate or change an answer.
#[test]
fn conditional_and_range_requests_get_the_whole_body_or_304() {
    let server = Server::start();
    server.client().put("a", "1");
    let etag = server.client().get("/audit/a/1").header("etag").expect("an etag").to_owned();
    let whole = server.client().get("/audit/a/1").body;
    for header in [
        "Range: bytes=0-3",
        "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
        "If-None-Match: \"other\"",
        "If-None-Match: ",
        "If-None-Match: garbage",
    ] {
        let answer = server.client().get_with("/audit/a/1", &[header]).expect(200);
        assert_eq!(answer.body, whole, "{header}");
    }
    for held in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        let header = format!("If-None-Match: {held}");
        let answer = server.client().get_with("/audit/a/1", &[&header]).expect(304);
        assert!(answer.body.is_empty() && answer.header("etag").is_some());
    }
    // A stream ignores conditions.
    let mut stream = EventStream::open(server.address, "/events", &["If-None-Match: *"]);
    stream.until_synced();
}

/// Slot exhaustion: clients that leave in the middle of a stream must not keep their slots.
#[test]
fn clients_that_leave_mid_stream_free_their_slots() {
    let config = small().max_streams(NonZeroUsize::new(5).expect("not 0"));
    let server = Server::with(config);
    let large = format!("\"{}\"", "x".repeat(50_000));
    (0..40).for_each(|n| drop(server.client().put(&format!("e{n}"), &large)));
    for round in 0..4 {
        for n in 0..5 {
            let mut connection = Connection::with_receive_buffer(server.address, 4 << 10);
            connection.send(request("GET", "/events", &[], b""));
            let (status, _) = connection.head().expect("an answer");
            assert_eq!(status, 200, "{n} of round {round}");
            // Some leave immediately, some in the middle of a block.
            if n % 2 == 0 {
                connection.take(1_000);
            }
        }
        server.client().wait_for_streams(0);
    }
}

/// Slow read: a client that opens a stream and never reads would occupy memory and a slot forever.
#[test]
fn reader_that_takes_nothing_is_disconnected() {
    let server = Server::with(small().stall_timeout(Duration::from_secs(1)));
    let large = format!("\"{}\"", "x".repeat(100_000));
    (0..60).for_each(|n| drop(server.client().put(&format!("e{n}"), &large)));
    let mut stalled = Connection::with_receive_buffer(server.address, 4 << 10);
    stalled.send(request("GET", "/events", &[], b""));
    stalled.head().expect("the stream begins");
    server.client().wait_for_streams(0);
}

/// Response mix-up: of pipelined requests, some invalid, each gets its own answer in order.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start();
    let mut connection = server.connect();
    let mut bytes = Vec::new();
    for n in 0..5 {
        let body = format!("{{\"event\":\"a\",\"data\":{n}}}");
        bytes.extend(request("POST", "/insert", &[JSON], body.as_bytes()));
        bytes.extend(request("GET", "/nothing", &[], b""));
    }
    connection.send(bytes);
    for n in 1..=5 {
        let receipt = connection.answer("POST").expect("an answer").expect(201).json();
        assert_eq!(receipt["version"], n);
        connection.answer("GET").expect("an answer").problem(404, "not-found");
    }
}

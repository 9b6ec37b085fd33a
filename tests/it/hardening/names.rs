//! Names, paths and queries that another parser on the way would read differently.

use crate::harness::server::Server;
use crate::harness::stream::EventStream;

/// Header and stream injection: `%0d%0a` ends a header, a log line or a field of a stream.
#[test]
fn line_breaks_in_names_reach_no_header_or_stream() {
    let server = Server::start();
    for bad in ["a\\r\\nSet-Cookie:x=1", "a\\ndata:forged", "a\\rb", "a\\u0085b", "a\\u2028b"] {
        let body = format!("{{\"event\":\"{bad}\",\"data\":1}}");
        server.client().insert(body).problem(422, "invalid-event");
        let body = format!("{{\"event\":\"a\",\"data\":1,\"to\":\"{bad}\"}}");
        server.client().insert(body).problem(422, "invalid-event");
    }
    for bad in ["a%0d%0aSet-Cookie:x=1", "a%0Ab", "%0d"] {
        let answer = server.client().get(&format!("/audit/{bad}"));
        answer.problem(400, "malformed-name");
        assert_eq!(answer.header("set-cookie"), None);
        server.client().get(&format!("/events?event={bad}")).problem(400, "malformed-query");
    }
    // Data may contain escaped line breaks, which stay escaped on the stream.
    let mut stream = server.events("");
    stream.until_synced();
    server.client().put("a", "\"\\r\\n\\ndata:forged\\n\\n\\u2028\"");
    assert!(stream.block().raw.contains("\"\\r\\n\\ndata:forged"));
}

/// Path traversal with `%2F`, `..` and `%5C`. Invalid UTF-8 such as `%ff`, which becomes U+FFFD and
/// makes two names one. `%00`, which ends a C string.
#[test]
fn invalid_names_in_paths_are_400_or_404_and_never_another_event() {
    let server = Server::start();
    server.client().put("a.b", "1");
    for bad in [
        "a%2Fb",
        "a%2fb",
        "%2e%2e%2f",
        "..",
        "%2e%2e",
        ".",
        "a%5Cb",
        "%ff",
        "a%c3%28",
        "%ed%a0%80",
        "%c0%80",
        "%00",
        "a%00",
        "%20",
        "a%3Fb",
        "a%23b",
        "a%25b",
        "%2A",
        "*",
        "%3E",
        "open",
        "error",
        "broker%3Aopen",
        "a..b",
        ".a",
        "a.",
        "%ef%bb%bfa",
        "e%cc%81",
    ] {
        let answer = server.client().get(&format!("/audit/{bad}"));
        answer.problem(400, "malformed-name");
        let answer = server.client().get(&format!("/audit/{bad}/1"));
        answer.problem(400, "malformed-name");
    }
    for target in [
        "/audit/",
        "/audit//1",
        "/audit/a.b/1/",
        "/audit/a.b/1/2",
        "//audit/a.b",
        "/audit/../log",
        "/insert/",
        "/events/",
        "/%61udit2",
    ] {
        let answer = server.client().get(target);
        assert!(matches!(answer.status, 400 | 404), "{target}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{target}");
    }
    // Incomplete escapes.
    for bad in ["a%", "a%2", "a%zz"] {
        let answer = server.client().get(&format!("/audit/{bad}"));
        assert!(matches!(answer.status, 400 | 404), "{bad}: {answer:?}");
    }
}

/// Overlong names, which exceed what indexes and headers expect.
#[test]
fn overlong_names_are_refused_on_every_route() {
    let server = Server::start();
    let long = "x".repeat(256);
    server.client().get(&format!("/audit/{long}")).problem(400, "malformed-name");
    server.client().get(&format!("/events?event={long}")).problem(400, "malformed-query");
    server.client().get(&format!("/latest?event={long}")).problem(400, "malformed-query");
    server.client().get(&format!("/audit?after={long}")).problem(400, "malformed-query");
    let body = format!("{{\"event\":\"a\",\"data\":1,\"to\":\"{long}\"}}");
    server.client().insert(body).problem(422, "invalid-event");
    // The limit of 255 counts bytes: 128 two-byte characters are too long, 127 are not.
    let body = |n| format!("{{\"event\":\"{}\",\"data\":1}}", "é".repeat(n));
    server.client().insert(body(128)).problem(422, "invalid-event");
    server.client().insert(body(127)).expect(201);
}

/// Spoofing: events named `open` or `error` would trigger a page's connection handlers, and
/// `broker:…` would let a client pose as the system and reset every subscriber.
#[test]
fn names_reserved_by_eventsource_or_the_system_are_refused() {
    let server = Server::start();
    for name in ["open", "error", "broker:reset", "broker:synced", "broker:open", "broker:x.y"] {
        let body = format!("{{\"event\":\"{name}\",\"data\":1}}");
        server.client().insert(body).problem(422, "invalid-event");
        let target = format!("/events?event={}", name.replace(':', "%3A"));
        server.client().get(&target).problem(400, "malformed-query");
    }
    // A colon elsewhere in a name is not special.
    server.client().put("brokers:reset", "1");
    assert_eq!(server.events("").until_synced().len(), 2);
}

/// Filter bombs: thousands of filters, or wildcards that make a naive matcher backtrack.
#[test]
fn too_many_filters_are_refused_and_wildcard_bombs_are_cheap() {
    let server = Server::start();
    let many: Vec<_> = (0..3_000).map(|n| format!("event=f{n}")).collect();
    let answer = server.client().get(&format!("/latest?{}", many.join("&")));
    answer.problem(400, "malformed-query");
    server
        .client()
        .get(&format!("/latest?{}", many[..101].join("&")))
        .problem(400, "malformed-query");
    server.client().get(&format!("/latest?{}", many[..100].join("&"))).expect(200);

    server.client().put(&format!("{}a", "a.".repeat(127)), "1");
    server.client().put(&format!("{}b", "a.".repeat(126)), "1");
    let bombs = [format!("{}b", "*.".repeat(126)), format!("{}%3E", "*.".repeat(126)), "*".into()];
    for bomb in bombs {
        server.client().get(&format!("/latest?event={bomb}")).expect(200);
    }
    for bad in ["", "**", "a*", "*a", "a.>.b", "a>", ">.>", "*..*", ".", "*.", "a b", "%00"] {
        let encoded = bad.replace('>', "%3E").replace(' ', "%20");
        let target = format!("/latest?event={encoded}");
        server.client().get(&target).problem(400, "malformed-query");
    }
}

/// Garbage cursors: very long, not UTF-8, or imitating SQL, a path or a format string.
#[test]
fn garbage_last_event_id_is_a_reset_and_never_an_error() {
    let server = Server::start();
    server.client().put("a", "1");
    let long = "9".repeat(4_000);
    let garbage: [&[u8]; 9] = [
        long.as_bytes(),
        b"\xff\xfe",
        "größe".as_bytes(),
        b"' OR 1=1 --",
        b"../../etc/passwd",
        b"%s%n",
        b"0000000000000000-0-0000000000000000",
        b"-1",
        b"\x01",
    ];
    for garbage in garbage {
        let mut request = b"GET /events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: ".to_vec();
        request.extend_from_slice(garbage);
        request.extend_from_slice(b"\r\n\r\n");
        let mut connection = server.connect();
        connection.send(&request);
        let (status, _) = connection.head().expect("an answer");
        if garbage == b"\x01" {
            // Not a valid header value (RFC 9110, section 5.5).
            assert_eq!(status, 400);
            continue;
        }
        assert_eq!(status, 200, "{garbage:?}");
        let first = connection.chunk().expect("whole").expect("a chunk");
        let first = String::from_utf8(first).expect("UTF-8");
        assert!(first.contains("event:broker:reset\n"), "{garbage:?}: {first}");
    }
    let target = format!("/events?last_event_id={long}");
    let first = EventStream::open(server.address, &target, &[]).block();
    assert!(first.is("broker:reset"));
    for target in ["/events?last_event_id=%ff", "/events?last_event_id=1&last_event_id=2"] {
        let first = EventStream::open(server.address, target, &[]).block();
        assert!(first.is("broker:reset"), "{target}");
    }
}

/// An ignored typo in a parameter would return everything instead of the selected part.
#[test]
fn unknown_and_repeated_query_parameters_are_refused() {
    let server = Server::start();
    server.client().put("a", "1");
    for target in [
        "/events?events=a",
        "/events?Event=a",
        "/latest?filter=a",
        "/latest?replay=all",
        "/audit?q=a",
        "/audit/a?version=1",
        "/audit/a/1?at=x",
        "/log?from=1",
        "/log?after=1&after=2",
        "/audit/a?limit=1&limit=2",
        "/events?replay=all&replay=none",
    ] {
        server.client().get(target).problem(400, "malformed-query");
    }
    // An empty query and empty pairs are allowed.
    server.client().get("/latest?").expect(200);
    server.client().get("/latest?&&event=a&").expect(200);
}

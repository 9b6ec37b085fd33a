//! A connection whose first request is an insert is served by its own loop, with the same answers
//! as any other connection.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::harness::server::{Server, small};
use crate::harness::wait::WAIT_MAX;
use crate::harness::wire::{Answer, JSON, request};

fn insert(headers: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let headers = [&[JSON], headers].concat();
    request("POST", "/insert", &headers, body.as_ref())
}

fn event(name: &str) -> String {
    format!("{{\"event\":\"{name}\",\"data\":1}}")
}

/// The answer without the parts that differ between equal requests.
fn shape(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let varies = ["date", "location", "content-length"];
    let mut headers = answer.headers.0.clone();
    headers.retain(|(name, _)| !varies.contains(&name.as_str()));
    for (_, value) in &mut headers {
        let mut words: Vec<_> = value.split(", ").collect();
        words.sort_unstable();
        *value = words.join(", ");
    }
    headers.sort();
    let body = match answer.status {
        200 | 201 => answer.json().as_object().map_or(0, serde_json::Map::len).to_string(),
        _ => answer.text().to_owned(),
    };
    (answer.status, headers, body)
}

#[test]
fn insert_connection_answers_like_any_other() {
    let server = Server::with(small().max_body_bytes(4_000));
    let id = "{\"event\":\"i\",\"data\":1,\"id\":\"0192e4a0-0000-7000-8000-000000000001\"}";
    let used = "{\"event\":\"i\",\"data\":2,\"id\":\"0192e4a0-0000-7000-8000-000000000001\"}";
    let without_type = request("POST", "/insert", &[], event("a").as_bytes());
    let chunked = "5\r\n{\"eve\r\n10\r\nnt\":\"a\",\"data\":1}\r\n0\r\n\r\n";
    let cases = [
        insert(&[], event("a")),
        insert(&[], format!("[{},{}]", event("a"), event("b"))),
        insert(&[], id),
        insert(&[], used),
        insert(&[], "{\"event\":\"a\",\"data\":}"),
        insert(&[], "{\"event\":\"a\",\"data\":1,\"expected_version\":9}"),
        insert(&[], format!("{{\"event\":\"a\",\"data\":\"{}\"}}", "x".repeat(3_000))),
        insert(&[], format!("{{\"event\":\"a\",\"data\":\"{}\"}}", "x".repeat(4_000))),
        insert(&[], ""),
        insert(&["Origin: http://localhost:3000"], event("a")),
        insert(&["Origin: https://elsewhere.example"], event("a")),
        insert(&["Host: elsewhere.example"], event("a")),
        insert(&["Transfer-Encoding: chunked"], chunked),
        insert(&["Connection: keep-alive", "Accept: */*", "User-Agent: x"], event("a")),
        insert(&["Connection: close"], event("a")),
        without_type,
        request("POST", "/insert?x=1", &[JSON], event("a").as_bytes()),
        request("PUT", "/insert", &[JSON], event("a").as_bytes()),
    ];
    for case in cases {
        let shown = String::from_utf8_lossy(&case).into_owned();
        let mut other = server.connect();
        other.send(request("GET", "/livez", &[], b""));
        other.answer("GET").expect("an answer").expect(200);
        let mut ours = server.connect();
        ours.send(insert(&[], event("first")));
        ours.answer("POST").expect("an answer").expect(201);
        let [other, ours] = [other, ours].map(|mut connection| {
            connection.send(&case);
            shape(&connection.answer("POST").unwrap_or_else(|| panic!("no answer to {shown}")))
        });
        // The first insert of an id is 201, the second is 200.
        let (other, ours) = if shown.contains("0192e4a0") && other.0 == 201 {
            ((200, other.1, other.2), ours)
        } else {
            (other, ours)
        };
        assert_eq!(other, ours, "{shown}");
    }
}

#[test]
fn requests_may_arrive_pipelined_or_byte_by_byte() {
    let server = Server::start();
    let mut connection = server.connect();
    let at_once: Vec<u8> = ["a", "b", "c"].map(|name| insert(&[], event(name))).concat();
    connection.send(at_once);
    for name in ["a", "b", "c"] {
        let answer = connection.answer("POST").expect("an answer").expect(201);
        assert_eq!(answer.header("location"), Some(format!("/audit/{name}/1").as_str()));
    }
    for byte in insert(&[], event("a")) {
        connection.send([byte]);
    }
    let answer = connection.answer("POST").expect("an answer").expect(201);
    assert_eq!(answer.header("location"), Some("/audit/a/2"));
}

#[test]
fn insert_connection_may_send_other_requests() {
    let server = Server::start();
    let mut connection = server.connect();
    let get = |target| request("GET", target, &[], b"");
    let mixed = [insert(&[], event("a")), get("/audit/a/1"), insert(&[], event("a"))].concat();
    connection.send(mixed);
    connection.answer("POST").expect("an answer").expect(201);
    assert_eq!(connection.answer("GET").expect("an answer").expect(200).json()["version"], 1);
    let second = connection.answer("POST").expect("an answer").expect(201);
    assert_eq!(second.header("location"), Some("/audit/a/2"));

    let mut connection = server.connect();
    connection.send([insert(&[], event("a")), get("/events?event=a")].concat());
    connection.answer("POST").expect("an answer").expect(201);
    let (status, headers) = connection.head().expect("a stream");
    assert_eq!((status, headers.find("content-type")), (200, Some("text/event-stream")));

    let mut connection = server.connect();
    connection.send(insert(&[], event("a")));
    connection.answer("POST").expect("an answer").expect(201);
    // An insert whose client waits for 100 Continue before it sends the body.
    let body = event("b");
    let length = format!("Content-Length: {}", body.len());
    connection.send(request("POST", "/insert", &[JSON, "Expect: 100-continue", &length], b""));
    assert_eq!(connection.head().expect("an answer").0, 100);
    connection.send(body);
    connection.answer("POST").expect("an answer").expect(201);
}

#[test]
fn large_insert_may_follow_small_ones() {
    let server = Server::start();
    let mut connection = server.connect();
    for data in [10, 100_000, 10] {
        let body = format!("{{\"event\":\"a\",\"data\":\"{}\"}}", "x".repeat(data));
        connection.send(insert(&[], body));
        connection.answer("POST").expect("an answer").expect(201);
    }
}

#[test]
fn insert_connection_closes_on_request_and_on_shutdown() {
    let server = Server::start();
    let mut closing = server.connect();
    closing.send(insert(&["Connection: close"], event("a")));
    let answer = closing.answer("POST").expect("an answer").expect(201);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(closing.rest(), b"");

    let mut idle = server.connect();
    idle.send(insert(&[], event("a")));
    idle.answer("POST").expect("an answer").expect(201);
    drop(server);
    assert_eq!(idle.rest(), b"");
}

/// The client learns whether its insert is stored, and that the connection ends.
#[test]
fn request_in_progress_is_answered_during_shutdown() {
    let mut server = Server::start();
    let (mut begun, mut idle) = (server.connect(), server.connect());
    for connection in [&mut begun, &mut idle] {
        connection.send(insert(&[], event("a")));
        connection.answer("POST").expect("an answer").expect(201);
    }
    let body = event("b");
    let length = format!("Content-Length: {}", body.len());
    begun.send(request("POST", "/insert", &[JSON, &length], &body.as_bytes()[..5]));
    server.begin_stop();
    // The idle connection is closed, so all connections know of the shutdown.
    assert_eq!(idle.rest(), b"");
    begun.send(&body.as_bytes()[5..]);
    let answer = begun.answer("POST").expect("an answer");
    answer.problem(503, "shutting-down");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(begun.rest(), b"");
}

/// A client that sends the head and never the body would occupy the connection forever.
#[test]
fn missing_body_is_408() {
    let server = Server::with(small().body_timeout(Duration::from_millis(50)));
    let mut connection = server.connect();
    connection.send(insert(&[], event("a")));
    connection.answer("POST").expect("an answer").expect(201);
    connection.send(request("POST", "/insert", &[JSON, "Content-Length: 20"], b""));
    connection.answer("POST").expect("an answer").problem(408, "body-timeout");
}

/// A client that sends the body in drops would occupy the connection, too.
#[test]
fn dripping_body_is_408() {
    let server = Server::with(small().body_timeout(Duration::from_millis(50)));
    let mut dripping = TcpStream::connect(server.address).expect("the server accepts");
    let mut reading = dripping.try_clone().expect("a second handle");
    let head = request("POST", "/insert", &[JSON, "Content-Length: 10000"], b"");
    dripping.write_all(&head).expect("it is taken");
    let dripper = thread::spawn(move || {
        while dripping.write_all(b" ").is_ok() {
            thread::park_timeout(Duration::from_millis(5));
        }
    });
    reading.set_read_timeout(Some(WAIT_MAX)).expect("a timeout");
    let mut answer = [0; 12];
    reading.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 408");
    drop(server);
    dripper.join().expect("the thread ends with the connection");
}

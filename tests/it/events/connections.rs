//! Streams as connections: many at once, disconnects, shutdown, and how requests arrive.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use crate::harness::server::{Server, small};
use crate::harness::stream::{EventStream, StreamItem};
use crate::harness::wire::{Connection, request};

/// Maximum time until the server notices a disconnect, even without inserts.
const DISCONNECT_NOTICED_MAX: Duration = Duration::from_secs(3);

#[test]
fn health_metrics_and_inserts_work_at_the_stream_limit() {
    const STREAMS: usize = 50;
    let server = Server::with(small().max_streams(NonZeroUsize::new(STREAMS).expect("not 0")));
    let mut streams: Vec<_> = (0..STREAMS).map(|_| server.events("")).collect();
    streams.iter_mut().for_each(|stream| drop(stream.until_synced()));
    server.client().get("/events").problem(503, "too-many-streams");
    assert_eq!(server.client().streams(), STREAMS as u64);
    server.client().get("/readyz").expect(200);
    let metrics = server.client().get("/metrics").expect(200);
    assert!(metrics.text().contains(&format!("\nbroker_streams {STREAMS}\n")), "{metrics:?}");
    server.client().put("a", "1");
    assert!(streams.iter_mut().all(|stream| stream.block().is("a")));
}

#[test]
fn disconnects_are_noticed_within_three_seconds_without_inserts() {
    const STREAMS: usize = 100;
    // Neither a heartbeat nor the stall timeout reveals the disconnect.
    let server = Server::with(
        small().heartbeat(Duration::from_secs(600)).stall_timeout(Duration::from_secs(600)),
    );
    for end in [drop, Connection::reset] {
        let mut connections: Vec<_> = (0..STREAMS).map(|_| server.connect()).collect();
        for connection in &mut connections {
            connection.send(request("GET", "/events", &[], b""));
            assert_eq!(connection.head().map(|(status, _)| status), Some(200));
        }
        assert_eq!(server.client().streams(), STREAMS as u64);
        let left = Instant::now();
        connections.into_iter().for_each(end);
        server.client().wait_for_streams(0);
        assert!(left.elapsed() < DISCONNECT_NOTICED_MAX, "{:?}", left.elapsed());
    }
}

#[test]
fn shutdown_ends_500_streams_in_time_and_loses_no_acknowledged_insert() {
    const STREAMS: usize = 500;
    let mut server = Server::with(small().shutdown(Duration::from_secs(5)));
    let mut streams: Vec<_> = (0..STREAMS).map(|_| server.events("")).collect();
    streams.iter_mut().for_each(|stream| drop(stream.until_synced()));
    server.client().put("a", "1");
    assert!(streams.iter_mut().all(|stream| stream.block().is("a")));
    let began = Instant::now();
    server.stop();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    for stream in &mut streams {
        assert!(matches!(stream.item(), StreamItem::Retry(_)));
    }
    let server = server.restart();
    assert_eq!(server.client().lines("/audit/a").len(), 1);
}

/// An HTTP/1.0 client would take the sizes of chunks for lines of the stream (RFC 9112, section
/// 6.1).
#[test]
fn http_1_0_client_gets_no_chunks() {
    let server = Server::start();
    for route in ["/events", "/audit/a", "/log"] {
        server.client().put("a", "1");
        let mut socket = TcpStream::connect(server.address).expect("it listens");
        write!(socket, "GET {route} HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("it reads");
        let lines = BufReader::new(socket).lines().map_while(Result::ok);
        let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        assert_eq!(head[0], "HTTP/1.0 200 OK", "{route}");
        let has_chunks = head.iter().any(|line| line.starts_with("transfer-encoding"));
        assert!(!has_chunks, "{route}: {head:?}");
    }
}

/// A connection whose first request opens a stream has its own code; every other way to request a
/// stream must give the same result.
#[test]
fn stream_is_the_same_however_its_request_arrives() {
    let server = Server::start();
    server.client().put("a", "1");
    let get = request("GET", "/events?event=a", &["Accept: text/event-stream"], b"");
    let mut after_another = server.connect();
    after_another.send(request("GET", "/livez", &[], b""));
    after_another.answer("GET").expect("an answer").expect(200);
    let mut with_another = server.connect();
    let mut both = request("GET", "/livez", &[], b"");
    both.extend_from_slice(&get);
    with_another.send(both);
    with_another.answer("GET").expect("an answer").expect(200);
    let mut in_pieces = server.connect();
    let (first, rest) = get.split_at(9);
    in_pieces.send(first);
    // When this is answered, the server has read the first piece.
    server.client().get("/livez").expect(200);
    in_pieces.send(rest);
    let at_once = server.connect();
    let mut absolute = server.connect();
    absolute.send("GET http://localhost/events?event=a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut after = [after_another, at_once]
        .map(|connection| EventStream::open_on(connection, "/events?event=a", &[]));
    let begun = [with_another, in_pieces, absolute].map(EventStream::after_request);
    let mut streams: Vec<_> = after.iter_mut().map(EventStream::until_synced).collect();
    let mut begun = begun;
    streams.extend(begun.iter_mut().map(EventStream::until_synced));
    for blocks in &streams {
        assert_eq!(blocks.len(), 2);
        assert_eq!((&blocks[0].id, &blocks[0].data), (&streams[0][0].id, &streams[0][0].data));
    }
    server.client().put("a", "2");
    assert!(after.iter_mut().chain(&mut begun).all(|stream| stream.block().version() == 2));
}

/// Bytes that a client sends after its request are ignored.
#[test]
fn client_that_keeps_sending_still_gets_its_stream() {
    let server = Server::start();
    let mut stream = server.events("");
    stream.until_synced();
    for version in 1..=20 {
        stream.send(&[b'x'; 10_000]);
        server.client().put("a", &version.to_string());
        assert_eq!(stream.block().version(), version);
    }
}

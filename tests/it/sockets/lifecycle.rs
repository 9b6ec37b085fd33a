//! Limits, pings, closing handshakes and shutdown.

use std::time::{Duration, Instant};

use crate::harness::server::{Server, small};
use crate::harness::socket::{CLOSE, Frames, PING, PONG, Socket, TEXT, masked, refused};

#[test]
fn sockets_and_event_streams_share_and_free_the_slots() {
    let server = Server::with(small().max_streams(2.try_into().expect("not 0")));
    let stream = server.events("");
    let socket = Socket::open(&server, "/ws");
    for target in ["/ws", "/subscribe/a"] {
        let answer = refused(server.address, target, &[]);
        answer.problem(503, "too-many-streams");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    // A handshake is never answered with 200, not even if the client accepts an event stream.
    refused(server.address, "/ws", &["Accept: text/event-stream"]).problem(503, "too-many-streams");
    assert_eq!(socket.close(), None, "a close without a code is answered without a code");
    server.client().wait_for_streams(1);
    let socket = Socket::open(&server, "/subscribe/a");
    // Without a closing handshake.
    drop((socket, stream));
    server.client().wait_for_streams(0);
}

#[test]
fn too_many_sockets_from_one_address_is_429() {
    let server = Server::with(small().max_streams_per_address(1.try_into().expect("not 0")));
    let _socket = Socket::open(&server, "/ws");
    refused(server.address, "/ws", &[]).problem(429, "too-many-streams-for-address");
}

#[test]
fn shutdown_closes_every_socket_with_1001_and_a_retry_time() {
    let mut server = Server::with(small().shutdown(Duration::from_secs(5)));
    let mut sockets: Vec<_> = (0..100)
        .map(|n| Socket::open(&server, if n % 2 == 0 { "/ws" } else { "/subscribe/a" }))
        .collect();
    let began = Instant::now();
    server.begin_stop();
    let mut retries = Vec::new();
    for socket in &mut sockets {
        let (code, reason) = socket.end().expect("a close frame");
        assert_eq!(code, 1001);
        let retry = reason.strip_prefix("retry:").expect("when to come back");
        retries.push(retry.parse::<u64>().expect("milliseconds"));
    }
    server.stop();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(retries.iter().all(|retry| (1_000..=5_000).contains(retry)), "{retries:?}");
    retries.dedup();
    assert!(retries.len() > 1, "the retry times are spread");
}

#[test]
fn idle_socket_is_pinged_every_heartbeat_and_kept_open_by_pongs() {
    let config = small().heartbeat(Duration::from_millis(50));
    let server = Server::with(config.stall_timeout(Duration::from_millis(400)));
    let mut socket = Frames::open(&server, "/ws");
    assert!(socket.text().contains("synced"));
    let began = Instant::now();
    let mut pings = 0;
    while began.elapsed() < Duration::from_secs(2) {
        assert_eq!(socket.frame(), Some((PING, Vec::new())), "nothing but pings");
        pings += 1;
        socket.send(PONG, b"");
    }
    assert!(pings <= 41, "{pings} pings in two seconds, more than one per heartbeat");
}

#[test]
fn socket_that_answers_no_pings_is_closed_with_1008() {
    let config = small().heartbeat(Duration::from_millis(50));
    let server = Server::with(config.stall_timeout(Duration::from_millis(400)));
    let mut socket = Frames::open(&server, "/ws");
    let began = Instant::now();
    assert_eq!(socket.close_frame().0, 1008);
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    server.client().wait_for_streams(0);
}

#[test]
fn close_frame_is_answered_with_its_code_and_nothing_follows() {
    let server = Server::start();
    for code in [1000_u16, 1001, 3000, 4999] {
        let mut socket = Frames::open(&server, "/ws?replay=none");
        assert!(socket.text().contains("synced"));
        let payload = [&code.to_be_bytes()[..], b"done"].concat();
        socket.send(CLOSE, &payload);
        server.client().put("after", "1");
        // The record may be sent before another worker has read the close, but not after it.
        let frame = socket.frame();
        let frame = if matches!(frame, Some((TEXT, _))) { socket.frame() } else { frame };
        assert_eq!(frame, Some((CLOSE, code.to_be_bytes().to_vec())));
        assert_eq!(socket.frame(), None, "the server ends the connection");
    }
}

#[test]
fn messages_sent_before_a_close_are_answered_before_it() {
    let server = Server::start();
    let mut socket = Frames::open(&server, "/ws?event=nothing");
    assert!(socket.text().contains("synced"));
    let insert = masked(TEXT, b"{\"insert\":{\"event\":\"last\",\"data\":1}}");
    let problem = masked(TEXT, b"{}");
    let close = masked(CLOSE, &1000_u16.to_be_bytes());
    let late = masked(TEXT, b"ping");
    socket.connection.send([insert.repeat(20), problem, close, late].concat());
    for version in 1..=20 {
        let receipt = socket.text();
        assert!(receipt.contains(&format!("\"version\":{version},")), "{receipt}");
    }
    assert!(socket.text().starts_with("{\"problem\":"));
    assert_eq!(socket.frame(), Some((CLOSE, 1000_u16.to_be_bytes().to_vec())));
    assert_eq!(socket.frame(), None);
}

#[test]
fn metrics_count_sockets_and_their_refusals() {
    let server = Server::start();
    server.client().put("a", "1");
    let mut socket = Socket::open(&server, "/ws");
    socket.until_synced();
    socket.ask("{\"topics\":[]}");
    let metrics = server.client().get("/metrics").expect(200);
    let has = |line: &str| metrics.text().lines().any(|l| l == line);
    assert!(has("broker_streams 1"), "{}", metrics.text());
    assert!(has("broker_delivered_total 1"), "{}", metrics.text());
    assert!(has("broker_refused_total{code=\"malformed-message\"} 1"), "{}", metrics.text());
}

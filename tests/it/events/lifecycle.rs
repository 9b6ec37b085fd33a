//! Heartbeats, limits, and ends after which an EventSource reconnects.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::harness::server::{Server, small};
use crate::harness::stream::{EventStream, StreamItem};

#[test]
fn idle_stream_sends_a_colon_line_as_heartbeat() {
    let server = Server::with(small().heartbeat(Duration::from_millis(20)));
    let mut stream = server.events("");
    stream.until_synced();
    for _ in 0..5 {
        assert_eq!(stream.line().as_deref(), Some(":"));
    }
    server.client().put("a", "1");
    // `item` accepts a heartbeat only between blocks, never inside one.
    loop {
        match stream.item() {
            StreamItem::Heartbeat => {}
            StreamItem::Block(block) => break assert!(block.is("a")),
            end => panic!("{end:?}"),
        }
    }
    assert_eq!(stream.item(), StreamItem::Heartbeat);
}

#[test]
fn shutdown_ends_streams_with_a_retry_line() {
    let mut server = Server::start();
    server.client().put("a", "1");
    let mut streams: Vec<_> =
        ["", "?event=a", "?replay=all", "?replay=none"].map(|query| server.events(query)).into();
    streams.iter_mut().for_each(|stream| drop(stream.until_synced()));
    server.begin_stop();
    for stream in &mut streams {
        let StreamItem::Retry(retry) = stream.item() else { panic!("no retry line") };
        assert!((1_000..=5_000).contains(&retry), "{retry}");
    }
    server.stop();
}

#[test]
fn eventsource_beyond_the_stream_limit_gets_200_and_one_retry_line() {
    let server = Server::with(small().max_streams(NonZeroUsize::MIN));
    let mut first = server.events("");
    first.until_synced();
    for accept in ["text/event-stream", "text/html, Text/Event-Stream;q=0.9"] {
        let answer =
            server.client().get_with("/events", &[&format!("Accept: {accept}")]).expect(200);
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert_eq!(answer.header("cache-control"), Some("no-store, no-transform"));
        let retry = answer.text().strip_prefix("retry:").and_then(|rest| rest.strip_suffix('\n'));
        let retry: u64 = retry.and_then(|millis| millis.parse().ok()).expect("one retry line");
        assert!((1_000..=5_000).contains(&retry), "{retry}");
    }
    for accept in ["*/*", "application/json", "text/*"] {
        let answer = server.client().get_with("/events", &[&format!("Accept: {accept}")]);
        answer.problem(503, "too-many-streams");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    // At the limit, inserts and reads still work.
    server.client().put("a", "1");
    assert!(first.block().is("a"));
    drop(first);
    server.client().wait_for_streams(0);
    server.events("").until_synced();
}

#[test]
fn too_many_streams_from_one_address_is_429() {
    let server = Server::with(small().max_streams_per_address(NonZeroUsize::MIN));
    let mut first = server.events("");
    first.until_synced();
    let answer = server.client().get("/events");
    answer.problem(429, "too-many-streams-for-address");
    assert_eq!(answer.header("retry-after"), Some("1"));
    let answer = server.client().get_with("/events", &["Accept: text/event-stream"]).expect(200);
    assert!(answer.text().starts_with("retry:"), "{answer:?}");
}

#[test]
fn invalid_parameter_is_400_even_for_eventsource() {
    let server = Server::start();
    for query in
        ["?replay=some", "?dispatch=all", "?evnt=a", "?event=a..b", "?replay=all&replay=all"]
    {
        let target = format!("/events{query}");
        let answer = server.client().get_with(&target, &["Accept: text/event-stream"]);
        answer.problem(400, "malformed-query");
    }
}

#[test]
fn disconnected_clients_free_their_slots() {
    let server = Server::start();
    let streams: Vec<EventStream> = (0..20).map(|_| server.events("")).collect();
    assert_eq!(server.client().streams(), 20);
    drop(streams);
    server.client().wait_for_streams(0);
}

//! Cursors: resuming a stream, and the reset when that is impossible.

use crate::events::{replayed, summary};
use crate::harness::server::Server;
use crate::harness::stream::EventStream;

/// The cursor of a stream with `query` when it is synced.
fn cursor(server: &Server, query: &str) -> String {
    server.events(query).until_synced().pop().expect("synced").id
}

#[test]
fn reconnecting_client_gets_only_newer_records() {
    let server = Server::start();
    let client = server.client();
    client.put("a", "1");
    client.put("b", "1");
    let at = cursor(&server, "");
    client.put("b", "2");
    client.put("c", "1");
    client.put("b", "3");
    let mut stream = server.events_after("", &at);
    let blocks = stream.until_synced();
    assert_eq!(summary(&blocks), "c1 b3 synced");
    assert_eq!(blocks[2].json()["events"], 2);
    // Also in the middle of a replay.
    let first = server.events("").block();
    assert_eq!(summary(std::slice::from_ref(&first)), "a1");
    assert_eq!(summary(&server.events_after("", &first.id).until_synced()), "c1 b3 synced");
    // Also when nothing is newer.
    let at = cursor(&server, "");
    assert_eq!(summary(&server.events_after("", &at).until_synced()), "synced");
}

#[test]
fn cursor_is_taken_from_the_header_or_any_query_spelling() {
    let server = Server::start();
    server.client().put("a", "1");
    let old = cursor(&server, "");
    server.client().put("a", "2");
    let new = cursor(&server, "");
    for name in ["last_event_id", "lastEventId", "lastEventID"] {
        assert_eq!(replayed(&server, &format!("?{name}={old}")), "a2 synced", "{name}");
        assert_eq!(replayed(&server, &format!("?{name}=")), "a2 synced", "empty counts as absent");
        // The header wins over the query.
        let query = format!("?{name}={old}");
        assert_eq!(summary(&server.events_after(&query, &new).until_synced()), "synced");
        assert_eq!(
            summary(&server.events_after(&format!("?{name}=x"), &new).until_synced()),
            "synced"
        );
    }
    // An empty header counts as absent.
    let target = format!("/events?last_event_id={new}");
    let mut stream = EventStream::open(server.address, &target, &["Last-Event-ID:"]);
    assert_eq!(summary(&stream.until_synced()), "synced");
    // An empty spelling counts as absent, so the next one applies.
    assert_eq!(replayed(&server, &format!("?last_event_id=&lastEventId={new}")), "synced");
}

#[test]
fn invalid_cursor_gets_a_reset_and_a_full_replay() {
    let server = Server::start();
    server.client().put("a", "1");
    server.client().put("b", "1");
    let good = cursor(&server, "");
    let view = good.rsplit('-').next().expect("a view");
    let epoch = good.split('-').next().expect("an epoch");
    let other_view = cursor(&server, "?event=a");
    for bad in [
        "1",
        "garbage",
        "-",
        "--",
        &format!("{epoch}-4-{view}"),
        &format!("{epoch}-18446744073709551615-{view}"),
        &format!("{epoch}-18446744073709551616-{view}"),
        &format!("{epoch}--1-{view}"),
        &format!("{epoch}-03-{view}"),
        &format!("{epoch}-+3-{view}"),
        &format!("{epoch}-3-{view}-"),
        &format!(
            "{epoch}-3-{}",
            view.to_ascii_uppercase().replace(|c: char| c.is_ascii_digit(), "A")
        ),
        &format!("0000000000000000-3-{view}"),
        &other_view,
    ] {
        let blocks = server.events_after("", bad).until_synced();
        assert_eq!(summary(&blocks), "reset a1 b1 synced", "{bad}");
        let reset = &blocks[0];
        assert_eq!(reset.id, format!("{epoch}-0-{view}"), "the cursor is at 0");
        assert_eq!(reset.data, format!("{{\"cursor\":\"{}\"}}", reset.id));
        assert!(reset.retry.is_some(), "it is the first block");
        assert_eq!(blocks[3].json()["events"], 2);
    }
}

#[test]
fn client_disconnected_after_a_reset_still_gets_everything() {
    let server = Server::start();
    server.client().put("a", "1");
    let reset = server.events_after("", "garbage").block();
    assert!(reset.is("broker:reset"));
    assert_eq!(summary(&server.events_after("", &reset.id).until_synced()), "a1 synced");
    let none = server.events_after("?replay=none", &reset.id).until_synced();
    assert_eq!(summary(&none), "a1 synced");
}

#[test]
fn cursor_is_valid_for_an_equal_set_of_filters() {
    let server = Server::start();
    server.client().put("a", "1");
    server.client().put("b", "1");
    let at = cursor(&server, "?event=a&event=b");
    assert_eq!(summary(&server.events_after("?event=b&event=a", &at).until_synced()), "synced");
    assert_eq!(
        summary(&server.events_after("?event=b&event=a&event=a", &at).until_synced()),
        "synced"
    );
    assert_eq!(summary(&server.events_after("?event=a", &at).until_synced()), "reset a1 synced");
    // The cursor does not depend on how records are sent.
    let at = cursor(&server, "?dispatch=message");
    assert_eq!(summary(&server.events_after("?replay=all", &at).until_synced()), "synced");
}

#[test]
fn cursor_stays_valid_across_restarts() {
    let server = Server::start();
    server.client().put("a", "1");
    server.client().put("b", "1");
    let mut stream = server.events("");
    let middle = stream.block().id;
    let end = stream.until_synced().pop().expect("synced").id;
    let server = server.restart();
    assert_eq!(summary(&server.events_after("", &end).until_synced()), "synced");
    server.client().put("a", "2");
    let server = server.restart();
    let blocks = server.events_after("", &end).until_synced();
    assert_eq!(summary(&blocks), "a2 synced");
    assert_ne!(blocks[0].id.split('-').next(), end.split('-').next(), "one epoch per open");
    assert_eq!(summary(&server.events_after("", &middle).until_synced()), "b1 a2 synced");
    // This seq was written in a later epoch, so the first epoch never reached it.
    let seq = blocks[0].seq();
    let mut fields = end.split('-');
    let (epoch, view) = (fields.next().expect("an epoch"), fields.nth(1).expect("a view"));
    let never = format!("{epoch}-{seq}-{view}");
    assert_eq!(summary(&server.events_after("", &never).until_synced()), "reset b1 a2 synced");
}

#[test]
fn cursor_of_another_log_is_reset() {
    let (one, other) = (Server::start(), Server::start());
    one.client().put("a", "1");
    other.client().put("b", "1");
    let at = cursor(&one, "");
    assert_eq!(summary(&other.events_after("", &at).until_synced()), "reset b1 synced");
}

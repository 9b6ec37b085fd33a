//! What must hold of every text and every byte that a client sends.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{StatusCode, Uri, uri};
use actix_web::test::TestRequest;
use serde_json::value::RawValue;
use uuid::Uuid;

pub use crate::http::connection::fuzzing::connection;
pub use crate::http::routes::relay::fuzzing::relay;
pub use crate::http::socket::fuzzing::socket;

use crate::broker::{ReplayMode, Resume};
use crate::config::{Authority, Config, Origin};
use crate::http::codec::body::check_media_type;
use crate::http::codec::etag::with_etag;
use crate::http::codec::paths::{event_in_path, push_encoded, record_location};
use crate::http::codec::query::{CURSOR_PARAMETERS, Query};
use crate::http::codec::record_pages::Layout;
use crate::http::routes::bare_socket::parse_format;
use crate::http::routes::events::{accepts_event_stream, parse_subscription};
use crate::http::routes::history::HistoryQuery;
use crate::http::routes::{consume, history, insert};
use crate::http::socket::message;
use crate::http::socket::message::SocketRequest;
use crate::record::{FilterSet, Identity, Name, Timestamp};

/// Every parameter that some route knows.
const PARAMETERS: [&str; 19] = [
    "ack",
    "after",
    "after_version",
    "at",
    "consumer",
    "dispatch",
    "event",
    "expected_version",
    "format",
    "id",
    "lastEventID",
    "lastEventId",
    "last_event_id",
    "limit",
    "order",
    "replay",
    "since",
    "until",
    "wait",
];

/// A query string means the same when what was understood is written again, and the link to a next
/// page means the same but for where it goes on.
pub fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Whatever a client holds for a cursor, EventSource must not be refused for it.
    let cursor = format!("last_event_id={}", text.replace('&', ""));
    assert!(Query::parse(&cursor, &CURSOR_PARAMETERS).is_ok());
    let Ok(query) = Query::parse(text, &PARAMETERS) else { return };
    let mut rewritten = String::new();
    for name in PARAMETERS {
        for value in query.all(name) {
            rewritten.push_str(name);
            rewritten.push('=');
            push_encoded(&mut rewritten, value);
            rewritten.push('&');
        }
    }
    let again = Query::parse(&rewritten, &PARAMETERS).expect("it was understood");
    assert!(PARAMETERS.into_iter().all(|name| query.all(name).eq(again.all(name))));
    assert_eq!(parsed(&query), parsed(&again));

    let Ok(uri) = format!("/?{text}").parse::<Uri>() else { return };
    let sent = uri.query().unwrap_or_default();
    let Ok(query) = Query::parse(sent, &PARAMETERS) else { return };
    for (parameter, value) in [("after_version", "7"), ("after", "a.&=+%é")] {
        let link = history::next_link(sent, parameter, value);
        assert!(HeaderValue::try_from(&link).is_ok(), "{link:?} is a header's value");
        let target = link.strip_prefix("<?").and_then(|link| link.strip_suffix(">; rel=\"next\""));
        let next = Query::parse(target.expect("a link"), &PARAMETERS).expect("the same names");
        for name in PARAMETERS {
            if name == parameter {
                assert_eq!(next.all(name).collect::<Vec<_>>(), [value], "{sent:?}");
            } else {
                assert!(next.all(name).eq(query.all(name)), "{sent:?} keeps {name}");
            }
        }
    }
}

/// What the routes read from a query: all of it as text, but for what is subscribed to.
fn parsed(query: &Query<'_>) -> (String, Option<(Option<FilterSet>, Resume, ReplayMode)>) {
    let topic = Name::parse("topic").expect("a name");
    let read = (
        HistoryQuery::parse(query).ok(),
        history::parse_time(query, "at", Timestamp::parse).ok(),
        parse_format(query).ok(),
        consume::parse_from(query, &topic).ok(),
        consume::parse_wait(query).ok(),
        query.parsed::<Uuid>("id", "a UUID").ok(),
    );
    let request = TestRequest::default().to_http_request();
    let subscribe = parse_subscription(&request, query, &Config::default()).ok();
    let subscribe =
        subscribe.map(|subscribe| (subscribe.filters, subscribe.resume, subscribe.replay));
    (format!("{read:?}"), subscribe)
}

/// A segment of a path: the event that it names is found where its records are said to be.
pub fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(request) = request_at(&format!("/audit/{text}")) else { return };
    let Ok(event) = event_in_path(&request, 0) else { return };
    let identity = Identity { event, to: None };
    let there = request_at(&record_location("/broker", &identity, 7)).expect("it is a URL");
    assert_eq!(event_in_path(&there, 1).ok(), Some(identity.event));
}

fn request_at(uri: &str) -> Option<HttpRequest> {
    uri.parse::<Uri>().is_ok().then(|| TestRequest::with_uri(uri).to_http_request())
}

/// The value of a header, as each of those that are read: nothing is found in it that it does not
/// hold, and nothing that stands before hides what is asked for.
pub fn headers(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let lower = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    if Layout::accepted(&with(header::ACCEPT, &value)) == Layout::Lines {
        assert!(lower.contains("application/x-ndjson"));
    }
    if accepts_event_stream(&with(header::ACCEPT, &value)) {
        assert!(lower.contains("text/event-stream"));
    }
    if check_media_type(with(header::CONTENT_TYPE, &value).headers()).is_ok() {
        assert!(lower.trim_start().starts_with("application/json"));
    }
    if is_held(&value) {
        assert!(lower.contains("\"7\"") || lower.trim() == "*");
    }
    let id = with(HeaderName::from_static("last-event-id"), &value);
    let nothing = Query::parse("", &[]).expect("nothing is understood");
    assert!(parse_subscription(&id, &nothing, &Config::default()).is_ok(), "no cursor is refused");
    let Ok(text) = value.to_str() else { return };
    let and = |more| HeaderValue::try_from(format!("{text}, {more}")).expect("text is a value");
    let lines = and("application/x-ndjson; q=0.5");
    assert_eq!(Layout::accepted(&with(header::ACCEPT, &lines)), Layout::Lines);
    assert!(accepts_event_stream(&with(header::ACCEPT, &and("Text/Event-Stream"))));
    assert!(is_held(&and("W/\"7\"")));
    host(text);
    origin(text);
}

fn with(name: HeaderName, value: &HeaderValue) -> HttpRequest {
    TestRequest::default().insert_header((name, value.clone())).to_http_request()
}

/// Whether a client that sends this as `If-None-Match` has what is tagged `"7"`.
fn is_held(value: &HeaderValue) -> bool {
    let request = with(header::IF_NONE_MATCH, value);
    with_etag(&request, "\"7\"", "text/plain", || "").status() == StatusCode::NOT_MODIFIED
}

/// A `Host` that is understood is what others understand by it.
fn host(text: &str) {
    let Some(own) = Authority::parse(text) else { return };
    assert_eq!(Authority::parse(&own.to_string()).as_ref(), Some(&own));
    let theirs: uri::Authority = text.parse().expect("others can read it");
    assert_eq!(theirs.port_u16(), own.port);
    // An IPv6 address has several spellings.
    let is_same = theirs.host().eq_ignore_ascii_case(&own.host);
    assert!(is_same || own.host.starts_with('['), "{theirs} is {own}");
}

/// A page of this machine is one that was served from it; a setting reads back as it is shown.
fn origin(text: &str) {
    if Origin::Loopback.allows(text) {
        let host = text.split_once("://").and_then(|(_, host)| Authority::parse(host));
        let host = host.expect("an origin has a host");
        assert!(host.is_loopback() && Origin::is_at(text, &host));
    }
    if let Ok(origin) = text.parse::<Origin>() {
        assert_eq!(origin.to_string().parse().ok(), Some(origin));
    }
}

/// A message of `/ws`: its `ref` is its own, its topics are filters, and its insert is what
/// `POST /insert` would have made of the same bytes.
pub fn message(bytes: &[u8]) {
    let config = Config::default();
    if let Ok(text) = std::str::from_utf8(bytes) {
        let (request, reference) = message::parse(text, &config);
        if let Some(reference) = reference {
            assert!(text.contains(reference.json()), "it is sent back as it came");
            // A number of any size: whoever reads it says what it can hold.
            let value: &RawValue = serde_json::from_str(reference.json()).expect("it is JSON");
            assert!(
                value.get().starts_with(['"', '-'])
                    || value.get().starts_with(|first: char| first.is_ascii_digit())
            );
        }
        if let Ok(SocketRequest::Topics(filters)) = request {
            let again = FilterSet::parse(filters.canonical(), config.max_filters.get());
            assert_eq!(again.as_ref(), Ok(&filters), "what is canonical stays so");
        }
    }
    as_insert(bytes, &config);
}

/// The same bytes as the insert of a message.
fn as_insert(bytes: &[u8], config: &Config) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let posted = insert::parse(&bytes::Bytes::copy_from_slice(bytes), config);
    let (request, _) = message::parse(&format!("{{\"insert\":{text}}}"), config);
    match (posted, request) {
        (Ok((posted, _)), Ok(SocketRequest::Insert { events, .. })) => {
            assert_eq!(format!("{posted:?}"), format!("{events:?}"));
        }
        (Ok(_), other) => panic!("a POST takes it: {other:?}"),
        (Err(_), Ok(SocketRequest::Insert { events, .. })) => {
            panic!("a POST refuses it: {events:?}")
        }
        (Err(_), _) => {}
    }
}

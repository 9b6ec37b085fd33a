//! Properties of the parsers of everything that a client sends.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{StatusCode, Uri, uri};
use actix_web::test::TestRequest;
use serde_json::value::RawValue;
use uuid::Uuid;

pub use crate::http::connection::fuzzing::connection;
pub use crate::http::routes::relay::fuzzing::relay;
pub use crate::http::socket::fuzzing::socket;

use crate::broker::{ConsumeFrom, ReplayMode, Resume};
use crate::config::{Authority, Config, Origin};
use crate::http::codec::body::check_media_type;
use crate::http::codec::etag::with_etag;
use crate::http::codec::insert_body::parse_insert;
use crate::http::codec::json::compact;
use crate::http::codec::paths::{event_in_path, push_encoded, record_location};
use crate::http::codec::query::{CURSOR_PARAMETERS, Query, next_link};
use crate::http::codec::record_pages::Layout;
use crate::http::routes::bare_socket::parse_format;
use crate::http::routes::consume::parse_acknowledgement;
use crate::http::routes::events::{accepts_event_stream, parse_subscription};
use crate::http::routes::history::HistoryQuery;
use crate::http::routes::{consume, history};
use crate::http::socket::message;
use crate::http::socket::message::SocketRequest;
use crate::record::{FilterSet, Identity, Name, Timestamp};

/// The parameters of all routes.
const PARAMETERS: [&str; 18] = [
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

/// A query string that is parsed and written again has the same meaning; a link to the next page
/// differs only in where it continues.
pub fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // An EventSource must not be refused because of its cursor.
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
    let again = Query::parse(&rewritten, &PARAMETERS).expect("it was parsed before");
    assert!(PARAMETERS.into_iter().all(|name| query.all(name).eq(again.all(name))));
    assert_eq!(parsed(&query), parsed(&again));

    let Ok(uri) = format!("/?{text}").parse::<Uri>() else { return };
    let sent = uri.query().unwrap_or_default();
    let Ok(query) = Query::parse(sent, &PARAMETERS) else { return };
    for (parameter, value) in [("after_version", "7"), ("after", "a.&=+%é")] {
        let link = next_link(sent, parameter, value);
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

/// Parses a query as each of the routes does.
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

/// An event that a path names is found again in the location of its records.
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

/// A value as each of the headers that are parsed: only values that occur in it are found, and
/// preceding values do not hide them.
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
    let nothing = Query::parse("", &[]).expect("an empty query is valid");
    assert!(parse_subscription(&id, &nothing, &Config::default()).is_ok(), "no cursor is refused");
    let Ok(text) = value.to_str() else { return };
    let and = |more| {
        HeaderValue::try_from(format!("{text}, {more}")).expect("visible text is a header value")
    };
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

/// Whether `"7"` matches this value of `If-None-Match`.
fn is_held(value: &HeaderValue) -> bool {
    let request = with(header::IF_NONE_MATCH, value);
    with_etag(&request, "\"7\"", "text/plain", || "").status() == StatusCode::NOT_MODIFIED
}

/// A `Host` is parsed as another parser does.
fn host(text: &str) {
    let Some(own) = Authority::parse(text) else { return };
    assert_eq!(Authority::parse(&own.to_string()).as_ref(), Some(&own));
    let theirs: uri::Authority = text.parse().expect("another parser accepts it");
    assert_eq!(theirs.port_u16(), own.port);
    // An IPv6 address has several spellings.
    let is_same = theirs.host().eq_ignore_ascii_case(&own.host);
    assert!(is_same || own.host.starts_with('['), "{theirs} is {own}");
}

/// An origin accepted as loopback is one; a setting parses back from its display.
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

/// The `ref` of a message on `/ws` is a part of it, its topics are filters, and its insert is
/// parsed as by `POST /insert`. The same bytes are also tried as an acknowledgement.
pub fn message(bytes: &[u8]) {
    let config = Config::default();
    if let Ok(text) = std::str::from_utf8(bytes) {
        let (request, reference) = message::parse(text, &config);
        if let Some(reference) = reference {
            assert!(text.contains(reference.json()), "the ref is part of the message");
            // A number may have any size, so it is not parsed as one.
            let value: &RawValue = serde_json::from_str(reference.json()).expect("a ref is JSON");
            assert!(
                value.get().starts_with(['"', '-'])
                    || value.get().starts_with(|first: char| first.is_ascii_digit())
            );
        }
        if let Ok(SocketRequest::Topics(filters)) = request {
            let again = FilterSet::parse(filters.canonical(), config.max_filters.get());
            assert_eq!(again.as_ref(), Ok(&filters), "canonical filters stay canonical");
        }
    }
    as_insert(bytes, &config);
    acknowledgement(bytes, &config);
}

/// An acknowledgement written again parses to the same one.
fn acknowledgement(bytes: &[u8], config: &Config) {
    let topic = Name::parse("topic").expect("a name");
    let Ok(json) = compact(bytes, 1, config) else { return };
    let Ok((from, wait)) = parse_acknowledgement(&json, &topic) else { return };
    let ConsumeFrom::Acknowledged { consumer, ack: Some(ack) } = &from else {
        panic!("an acknowledgement has a consumer and a version: {from:?}")
    };
    let (name, seconds) = (serde_json::Value::from(consumer.name().as_str()), wait.as_secs());
    let rewritten = format!("{{\"consumer\":{name},\"ack\":{ack},\"wait\":{seconds}}}");
    let again = parse_acknowledgement(rewritten.as_bytes(), &topic);
    assert_eq!(format!("{again:?}"), format!("{:?}", Ok::<_, String>((from, wait))));
}

/// The same bytes are accepted in a message and by `POST /insert`, with the same result.
fn as_insert(bytes: &[u8], config: &Config) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let posted = parse_insert(&bytes::Bytes::copy_from_slice(bytes), config);
    let (request, _) = message::parse(&format!("{{\"insert\":{text}}}"), config);
    match (posted, request) {
        (Ok((posted, _)), Ok(SocketRequest::Insert { events, .. })) => {
            assert_eq!(format!("{posted:?}"), format!("{events:?}"));
        }
        (Ok(_), other) => panic!("a POST accepts it: {other:?}"),
        (Err(_), Ok(SocketRequest::Insert { events, .. })) => {
            panic!("a POST refuses it: {events:?}")
        }
        (Err(_), _) => {}
    }
}

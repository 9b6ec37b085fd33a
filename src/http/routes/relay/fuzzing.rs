//! Properties of the parsers of the relay.

use serde_json::{Value, json};

use crate::config::Config;
use crate::http::codec::insert_body::parse_insert;
use crate::http::codec::json::compact;
use crate::http::routes::relay::publish::parse_message;
use crate::http::routes::relay::register::parse_registration;
use crate::http::routes::relay::socket::parse_topics_message;
use crate::http::socket::message;
use crate::http::socket::message::SocketRequest;
use crate::record::FilterSet;

/// Tries bytes as the body of `/register` and `/publish`, and as a message on the socket.
pub fn relay(bytes: &[u8]) {
    let config = Config::default();
    if let Ok(json) = compact(bytes, 1, &config) {
        registration(&json, &config);
        published_message(&json, &config);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        topics_message(text, &config);
    }
}

/// A registration written again in canonical form parses to the same registration.
fn registration(json: &[u8], config: &Config) {
    let Ok((user, filters)) = parse_registration(json, config) else { return };
    let topics: Vec<_> = filters.canonical().collect();
    let rewritten = json!({ "user_id": user.as_str(), "topics": topics }).to_string();
    assert_eq!(parse_registration(rewritten.as_bytes(), config), Ok((user, filters)));
}

/// A message equals the insert of the same event, user and data by `/insert`.
fn published_message(json: &[u8], config: &Config) {
    let Ok(event) = parse_message(json) else { return };
    let name = Value::from(event.identity.event.as_str());
    let data = std::str::from_utf8(event.data.as_bytes()).expect("JSON is text");
    let to = event.identity.to.as_ref().map(|to| format!(",\"to\":{}", Value::from(to.as_str())));
    let same = format!("{{\"event\":{name},\"data\":{data}{}}}", to.unwrap_or_default());
    let inserted = parse_insert(&same.into(), config);
    assert_eq!(inserted.expect("a published message is a valid insert"), (vec![event], false));
}

/// Topics are parsed as on `/ws`, except that `/ws` requires at least one and allows a `ref`.
fn topics_message(text: &str, config: &Config) {
    let topics = parse_topics_message(text, config);
    match message::parse(text, config) {
        (Ok(SocketRequest::Topics(filters)), None) => assert_eq!(topics.ok(), Some(filters)),
        _ => assert!(topics.is_err() || topics.is_ok_and(|topics| topics == FilterSet::nothing())),
    }
}

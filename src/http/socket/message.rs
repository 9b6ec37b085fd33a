//! Parses the messages that clients send over `/ws`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::config::Config;
use crate::http::codec::insert_body::parse_events;
use crate::http::problem::{Code, Problem};
use crate::http::socket::session::Reference;
use crate::record::json::{JsonError, JsonErrorKind, JsonLimits};
use crate::record::{FilterSet, NewEvent, json};

/// Maximum length of a `ref` in bytes of JSON; it is sent back.
const REFERENCE_BYTES_MAX: usize = 128;

/// Maximum length to which an unknown member's name is cut; it is sent back.
const MEMBER_CHARS_MAX: usize = 40;

/// A request of a client.
#[derive(Debug)]
pub enum SocketRequest {
    /// `{"insert":…}`: one event, or a batch.
    Insert { events: Vec<NewEvent>, is_batch: bool },
    /// `ping`
    Ping,
    /// `{"topics":[…]}`
    Topics(FilterSet),
}

/// Parses a message. Its `ref` is returned even if the rest of the message is not valid.
pub fn parse(text: &str, config: &Config) -> (Result<SocketRequest, Problem>, Option<Reference>) {
    if is_ping(text) {
        return (Ok(SocketRequest::Ping), None);
    }
    let compact = match compact(text, config) {
        Ok(compact) => compact,
        Err(problem) => return (Err(problem), None),
    };
    let Ok(mut members) = serde_json::from_slice::<BTreeMap<Cow<'_, str>, &RawValue>>(&compact)
    else {
        return (Err(malformed("the message is not an object")), None);
    };
    let reference = match members.remove("ref").map(reference).transpose() {
        Ok(reference) => reference,
        Err(problem) => return (Err(problem), None),
    };
    (parse_members(&members, &compact, config), reference)
}

/// Whether a message is the text `ping`; some clients append a line break.
pub fn is_ping(text: &str) -> bool {
    text.trim_end_matches(['\r', '\n']) == "ping"
}

fn parse_members(
    members: &BTreeMap<Cow<'_, str>, &RawValue>,
    compact: &Bytes,
    config: &Config,
) -> Result<SocketRequest, Problem> {
    let mut all = members.iter().map(|(name, raw)| (name.as_ref(), raw.get()));
    match (all.next(), all.next()) {
        (Some(("insert", _)), Some(("topics", _))) => Err(malformed(
            "send insert and topics in separate messages, because an answer belongs to one of them",
        )),
        (Some(("insert", raw)), None) => {
            let is_batch = raw.starts_with('[');
            let events = parse_events(&compact.slice_ref(raw.as_bytes()), is_batch, config)?;
            Ok(SocketRequest::Insert { events, is_batch })
        }
        (Some(("topics", raw)), None) => topics(raw, config).map(SocketRequest::Topics),
        (None, _) => Err(malformed("the object is empty")),
        (Some((first, _)), second) => {
            let is_known = matches!(first, "insert" | "topics");
            let other = second.filter(|_| is_known).map_or(first, |(second, _)| second);
            let other: String = other.chars().take(MEMBER_CHARS_MAX).collect();
            Err(malformed(&format!("there is no member {other:?} here")))
        }
    }
}

/// Checks and compacts a message. The depth limit of an insert is that of `POST /insert`, plus one
/// level for the message around it.
fn compact(text: &str, config: &Config) -> Result<Bytes, Problem> {
    let within = |depth_max| {
        let compact = json::compact(text.as_bytes(), JsonLimits { depth_max })?;
        Ok::<Bytes, JsonError>(compact.into_owned().into())
    };
    let error = match within(config.max_depth + 2) {
        Ok(compact) => return Ok(compact),
        Err(error) => error,
    };
    if matches!(error.kind, JsonErrorKind::TooDeep { .. })
        && let Ok(compact) = within(config.max_depth + 3)
        && has_batch(&compact)
    {
        return Ok(compact);
    }
    Err(error.into())
}

fn has_batch(compact: &[u8]) -> bool {
    let members = serde_json::from_slice::<BTreeMap<Cow<'_, str>, &RawValue>>(compact);
    members.is_ok_and(|members| {
        members.get("insert").is_some_and(|insert| insert.get().starts_with('['))
    })
}

/// Parses filters. At least one is required: an empty list would mean everything, which is rarely
/// intended.
fn topics(raw: &str, config: &Config) -> Result<FilterSet, Problem> {
    let refused = |why: &dyn std::fmt::Display| {
        Problem::new(Code::MalformedMessage).detail(format!("topics: {why}"))
    };
    let filters: Vec<Cow<'_, str>> = serde_json::from_str(raw)
        .map_err(|_| refused(&"send an array of strings, each a name or a filter"))?;
    if filters.is_empty() {
        return Err(refused(&"send at least one filter; [\">\"] matches everything"));
    }
    FilterSet::parse(&filters, config.max_filters.get()).map_err(|error| refused(&error))
}

fn reference(raw: &RawValue) -> Result<Reference, Problem> {
    let json = raw.get();
    let is_scalar = json.starts_with(|first: char| matches!(first, '"' | '-' | '0'..='9'));
    if is_scalar && json.len() <= REFERENCE_BYTES_MAX {
        return Ok(Reference::new(json));
    }
    let detail = format!("ref: send a string or a number of at most {REFERENCE_BYTES_MAX} bytes");
    Err(Problem::new(Code::MalformedMessage).detail(detail))
}

fn malformed(what: &str) -> Problem {
    let detail = format!(
        "{what}; send {{\"topics\":[filters]}}, {{\"insert\":{{…}}}}, each with a \"ref\" if you \
         like, or the text ping"
    );
    Problem::new(Code::MalformedMessage).detail(detail)
}

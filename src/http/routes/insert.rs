//! `POST /insert`: inserts an event or a batch, and the parser of inserts.

use std::borrow::Cow;
use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::broker::{Broker, Inserted};
use crate::config::Config;
use crate::http::codec::body::read_json;
use crate::http::codec::paths::record_location;
use crate::http::codec::schemas::{InsertBody, ProblemBody, Receipt};
use crate::http::problem::{Code, Problem};
use crate::http::state::AppState;
use crate::record::json::JsonLimits;
use crate::record::{Data, Identity, Name, NewEvent, User, json};

/// Maximum length of a parser's error message, which may quote what was sent.
const MESSAGE_CHARS_MAX: usize = 200;

/// The members of an insert, borrowed from the checked body. Each is parsed separately, so that an
/// error can name it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InsertMembers<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    expected_version: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    to: Option<&'a RawValue>,
}

/// Deserialises an optional member that must not be null. A client that does not know a user would
/// otherwise publish to everybody with `"to": null`.
pub fn present<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Inserts an event, or an array of events as one atomic batch.
///
/// The answer is sent when the records are on stable storage. A retry with the same `id` does not
/// insert twice.
#[utoipa::path(
    post, path = "/insert", tag = "events", request_body = InsertBody,
    responses(
        (status = 201, description = "The records are on stable storage: the receipt, or an array \
            of receipts", body = Receipt,
         headers(("Location" = String, description = "Path of the record; absent for a batch"))),
        (status = 200, description = "The id was inserted before: the original receipt",
            body = Receipt),
        (status = 400, description = "The body is not acceptable JSON; the problem has line and \
            column", body = ProblemBody),
        (status = 408, description = "The body arrived too slowly", body = ProblemBody),
        (status = 409, description = "The latest version is not the expected one, or the id is \
            already used", body = ProblemBody),
        (status = 413, description = "The body is too large", body = ProblemBody),
        (status = 415, description = "The body is not `application/json`", body = ProblemBody),
        (status = 422, description = "The event is not valid", body = ProblemBody),
        (status = 503, description = "The server is overloaded or shutting down; see `Retry-After`",
            body = ProblemBody),
        (status = 507, description = "The disk is full, or a limit on new events is reached",
            body = ProblemBody),
    )
)]
pub async fn insert(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let body = read_json(&request, payload, state.broker.config()).await?;
    answer(&state.broker, &body, request.path()).await
}

/// Inserts the events of a body and makes the answer; `path` is the request's.
pub async fn answer(broker: &Broker, body: &Bytes, path: &str) -> Result<HttpResponse, Problem> {
    let started = Instant::now();
    let (events, is_batch) = parse(body, broker.config())?;
    let inserted = broker.insert_waiting(events).await?;
    broker.metrics().inserted(started.elapsed());
    Ok(receipt(prefix(path, broker.config(), "/insert"), &inserted, is_batch))
}

/// Makes the answer to an insert; `prefix` is the path of the mounted routes, for `Location`.
pub fn receipt(prefix: &str, inserted: &Inserted, is_batch: bool) -> HttpResponse {
    let status = if inserted.fresh { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = HttpResponse::build(status);
    // Static values need no allocation.
    response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
    response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    if let Some(record) = inserted.records.first().filter(|_| !is_batch) {
        let location = record_location(prefix, record.identity(), record.version());
        response.insert_header((header::LOCATION, location));
    }
    response.body(inserted.receipts_json(is_batch))
}

/// Returns the path prefix of the routes: the path of the public URL, otherwise the part of the
/// request's `path` before `route`.
pub fn prefix<'a>(path: &'a str, config: &'a Config, route: &str) -> &'a str {
    match &config.public_url {
        Some(url) => url.path(),
        None => path.rsplit_once(route).map(|(scope, _)| scope).unwrap_or_default(),
    }
}

/// Shorter bodies are copied. They share the connection's read buffer of up to 16 KiB, which would
/// stay in memory while the insert is queued, without being counted in the queue's bytes.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// Parses a body into events, and whether it is a batch. The body is checked once as a whole.
pub fn parse(body: &Bytes, config: &Config) -> Result<(Vec<NewEvent>, bool), Problem> {
    let is_batch = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    // One level for the insert around the data, and one for the batch.
    let compact = compact(body, if is_batch { 2 } else { 1 }, config)?;
    // The data of the events are slices of these bytes; they are copied into the records.
    let compact = match compact {
        Cow::Borrowed(compact) if compact.len() < COPIED_BYTES_MAX => {
            Bytes::copy_from_slice(compact)
        }
        Cow::Borrowed(_) => body.clone(),
        Cow::Owned(compact) => compact.into(),
    };
    Ok((parse_events(&compact, is_batch, config)?, is_batch))
}

/// Parses the events of an insert or a batch from compact JSON that was checked before.
pub fn parse_events(
    compact: &Bytes,
    is_batch: bool,
    config: &Config,
) -> Result<Vec<NewEvent>, Problem> {
    if !is_batch {
        return Ok(vec![parse_event(compact, compact).map_err(invalid)?]);
    }
    let items: Vec<&RawValue> =
        serde_json::from_slice(compact).map_err(|e| invalid(short_message(&e)))?;
    if items.len() > config.max_batch.get() {
        let max = config.max_batch;
        return Err(Problem::new(Code::BatchTooLong)
            .detail(format!("send at most {max} events in a batch, not {}", items.len()))
            .member("limit", max.get()));
    }
    let mut events = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let event = parse_event(item.get().as_bytes(), compact);
        events.push(event.map_err(|error| {
            invalid(format!("event {index} of the batch: {error}")).member("index", index)
        })?);
    }
    Ok(events)
}

/// Checks and compacts a body; the depth limit applies to the data, which lie `levels` deep in it.
pub fn compact<'a>(
    body: &'a [u8],
    levels: usize,
    config: &Config,
) -> Result<Cow<'a, [u8]>, Problem> {
    let depth_max = config.max_depth + levels;
    Ok(json::compact(body, JsonLimits { depth_max })?)
}

/// Parses one insert; `json` is a slice of `compact`.
fn parse_event(json: &[u8], compact: &Bytes) -> Result<NewEvent, String> {
    let insert: InsertMembers<'_> = object(json, "an object with event and data")?;
    let event = text("event", insert.event)?;
    let event = Name::parse(&event).map_err(|error| format!("event: {error}"))?;
    let to = insert.to.map(|to| text("to", to)).transpose()?;
    let to = to.map(|to| User::parse(&to)).transpose().map_err(|error| format!("to: {error}"))?;
    let expected = insert.expected_version;
    Ok(NewEvent {
        identity: Identity { event, to },
        data: Data::checked(compact.slice_ref(insert.data.get().as_bytes())),
        id: insert.id.map(|id| member("id", id)).transpose()?,
        expected_version: expected.map(|raw| member("expected_version", raw)).transpose()?,
        author: None,
    })
}

/// Parses a member that is a string; without escapes it is not copied.
pub fn text<'a>(name: &str, raw: &'a RawValue) -> Result<Cow<'a, str>, String> {
    let quoted = raw.get().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match quoted.filter(|text| !text.contains('\\')) {
        Some(text) => Ok(Cow::Borrowed(text)),
        None => member(name, raw).map(Cow::Owned),
    }
}

/// Parses an object from compact JSON. serde alone would also accept an array of the values.
pub fn object<'a, T: Deserialize<'a>>(json: &'a [u8], expected: &str) -> Result<T, String> {
    if json.first() != Some(&b'{') {
        return Err(format!("send {expected}"));
    }
    serde_json::from_slice(json).map_err(|error| short_message(&error))
}

fn member<'a, T: Deserialize<'a>>(name: &str, raw: &'a RawValue) -> Result<T, String> {
    serde_json::from_str(raw.get()).map_err(|error| format!("{name}: {}", short_message(&error)))
}

pub fn invalid(detail: impl std::fmt::Display) -> Problem {
    Problem::new(Code::InvalidEvent).detail(detail)
}

/// Returns a parser's message without its position, which refers to the compacted text, and cut to
/// a maximum length.
fn short_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

//! Parses the body of an insert: one event, or a batch.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::Config;
use crate::http::codec::json::{compact, member, object, present, short_message, text};
use crate::http::problem::{Code, Problem};
use crate::record::{Data, Identity, Name, NewEvent, User};

/// Shorter bodies are copied. They share the connection's read buffer of up to 16 KiB, which would
/// stay in memory while the insert is queued, without being counted in the queue's bytes.
const COPIED_BYTES_MAX: usize = 4 << 10;

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

/// Parses a body into events, and whether it is a batch. The body is checked once as a whole.
pub fn parse_insert(body: &Bytes, config: &Config) -> Result<(Vec<NewEvent>, bool), Problem> {
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
        return Ok(vec![parse_event(compact, compact).map_err(invalid_event)?]);
    }
    let items: Vec<&RawValue> =
        serde_json::from_slice(compact).map_err(|e| invalid_event(short_message(&e)))?;
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
            invalid_event(format!("event {index} of the batch: {error}")).member("index", index)
        })?);
    }
    Ok(events)
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

/// Makes a 422 for the event; `detail` says what to change.
pub fn invalid_event(detail: impl std::fmt::Display) -> Problem {
    Problem::new(Code::InvalidEvent).detail(detail)
}

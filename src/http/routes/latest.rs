//! `GET /latest`: the latest records as one JSON object.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;

use crate::http::codec::etag::with_etag;
use crate::http::codec::query::Query;
use crate::http::codec::schemas::{LatestBody, ProblemBody};
use crate::http::middleware::stream_limits::StreamSlot;
use crate::http::problem::Problem;
use crate::http::state::AppState;
use crate::record::{Cursor, Record, Seq};
use crate::subscription::Selector;
use crate::subscription::latest::SliceLimits;

/// How much of the latest records is read before other tasks may run.
const SLICE: SliceLimits = SliceLimits { examined_max: 4_096, bytes_max: 1 << 20 };

/// Minimum bytes of a chunk, except for the last.
const CHUNK_BYTES: usize = 64 << 10;

/// Returns the latest record of every matching event.
///
/// These are the records with which `/events` starts. The cursor continues from them without a gap,
/// for scripts and pages rendered on a server.
#[utoipa::path(
    get, path = "/latest", tag = "events",
    params(("event" = Option<Vec<String>>, Query, description = "Names or filters, repeatable; `*` \
        matches one token, a final `>` one or more. Without it, all events")),
    responses(
        (status = 200, description = "The latest records, ascending by seq", body = LatestBody,
         headers(("ETag" = String, description = "Weak; changes when a matching record changes or \
             the server restarts"))),
        (status = 304, description = "The client already has it"),
        (status = 400, description = "A parameter is not valid", body = ProblemBody),
        (status = 429, description = "Too many streams from this address", body = ProblemBody),
        (status = 503, description = "Too many streams, or the server is shutting down",
            body = ProblemBody),
    )
)]
pub async fn latest(
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let query = Query::parse(request.query_string(), &["event"])?;
    let selector = Selector::new(query.filters(state.broker.config().max_filters)?, None);
    // The answer keeps its records in memory until the client has read it, so it takes a slot.
    let slot = state.open_stream(&request, None)?;
    let hub = state.broker.hub();
    let mut records: Vec<Arc<Record>> = Vec::new();
    let mut position: Seq = 0;
    loop {
        let slice = hub.with_latest(|latest| match selector.identities() {
            Some(identities) => latest.after_among(position, SLICE.bytes_max, identities.iter()),
            None => latest.after(position, SLICE, |record| selector.matches(record)),
        });
        records.extend(slice.records);
        position = slice.position;
        if slice.complete {
            break;
        }
        tokio::task::yield_now().await;
    }
    keep_latest(&mut records);
    let cursor = Cursor { epoch: hub.epoch(), seq: position, view: selector.view() };
    // Records never disappear, so the highest seq identifies the answer.
    let latest = records.last().map_or(0, |record| record.seq());
    let etag = format!("W/\"{}-{latest}-{}\"", cursor.epoch, cursor.view);
    Ok(with_etag(&request, &etag, "application/json", || LatestStream::new(cursor, records, slot)))
}

/// Removes the older of two records of one event, which changed between two slices.
fn keep_latest(records: &mut Vec<Arc<Record>>) {
    let mut seen = std::collections::HashSet::new();
    records.reverse();
    records.retain(|record| seen.insert(record.identity().clone()));
    records.reverse();
}

/// The answer as a response body. The records are shared with all other readers and copied only
/// when they are sent.
struct LatestStream {
    size: u64,
    /// Bytes to send before the next record.
    head: Vec<u8>,
    records: std::vec::IntoIter<Arc<Record>>,
    ended: bool,
    _slot: StreamSlot,
}

impl LatestStream {
    fn new(cursor: Cursor, records: Vec<Arc<Record>>, slot: StreamSlot) -> Self {
        let head = format!("{{\"cursor\":\"{cursor}\",\"records\":[").into_bytes();
        let bytes: usize = records.iter().map(|record| record.json().len()).sum();
        let commas = records.len().saturating_sub(1);
        let size = (head.len() + bytes + commas + END.len()) as u64;
        Self { size, head, records: records.into_iter(), ended: false, _slot: slot }
    }
}

const END: &[u8] = b"]}";

impl MessageBody for LatestStream {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.size)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut chunk = std::mem::take(&mut self.head);
        while chunk.len() < CHUNK_BYTES {
            let Some(record) = self.records.next() else {
                chunk.extend_from_slice(END);
                self.ended = true;
                break;
            };
            chunk.extend_from_slice(record.json());
            if self.records.len() > 0 {
                chunk.push(b',');
            }
        }
        Poll::Ready(Some(Ok(chunk.into())))
    }
}

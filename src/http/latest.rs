//! `GET /latest`: what `/events` starts with, as one JSON object.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};

use super::Shared;
use super::audit::with_etag;
use super::problem::Problem;
use super::query::{Query, malformed};
use super::wire::{Latest, Refusal};
use crate::newest::SliceLimits;
use crate::record::{Cursor, FilterSet, Record, Seq};
use crate::subscription::Interest;

/// How many newest records are looked at before writers and other readers get their turn.
const SLICE: SliceLimits = SliceLimits { examined_max: 4_096, bytes_max: 1 << 20 };

/// The newest records with the cursor after them: for scripts and server-rendered pages.
#[utoipa::path(
    get, path = "/latest", tag = "events",
    params(("event" = Option<Vec<String>>, Query, description = "Names or filters; repeatable")),
    responses(
        (status = 200, description = "Ascending by seq", body = Latest,
         headers(("ETag" = String, description = "Changes when a record does"))),
        (status = 304, description = "As the client has it"),
        (status = 400, description = "A parameter cannot be understood", body = Refusal),
    )
)]
pub(super) async fn latest(
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let query = Query::parse(request.query_string(), &["event"])?;
    let filters = FilterSet::parse(query.all("event"), shared.broker.config().max_filters.get());
    let interest = Interest::new(filters.map_err(malformed)?, None);
    let hub = shared.broker.hub();
    let mut records: Vec<Arc<Record>> = Vec::new();
    let mut position: Seq = 0;
    loop {
        let slice = hub.with_newest(|newest| match interest.identities() {
            Some(identities) => newest.after_among(position, identities.iter()),
            None => newest.after(position, SLICE, |record| interest.matches(record)),
        });
        records.extend(slice.records);
        position = slice.position;
        if slice.complete {
            break;
        }
        tokio::task::yield_now().await;
    }
    keep_newest(&mut records);
    let cursor = Cursor { epoch: hub.epoch(), seq: position, view: interest.view() };
    // Nothing disappears, so the newest seq among what matches tells one answer from another.
    let newest = records.last().map_or(0, |record| record.seq());
    let etag = format!("W/\"{}-{newest}-{}\"", cursor.epoch, cursor.view);
    Ok(with_etag(&request, &etag, "application/json", || encode(cursor, &records).into()))
}

/// An event that changed between two slices stands in both: the later one is its newest.
fn keep_newest(records: &mut Vec<Arc<Record>>) {
    let mut seen = std::collections::HashSet::new();
    records.reverse();
    records.retain(|record| seen.insert(record.identity().clone()));
    records.reverse();
}

fn encode(cursor: Cursor, records: &[Arc<Record>]) -> Vec<u8> {
    let bytes: usize = records.iter().map(|record| record.json().len() + 1).sum();
    let mut out = Vec::with_capacity(bytes + 100);
    out.extend_from_slice(format!("{{\"cursor\":\"{cursor}\",\"records\":[").as_bytes());
    for (index, record) in records.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(record.json());
    }
    out.extend_from_slice(b"]}");
    out
}

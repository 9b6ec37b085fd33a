//! `POST /insert`: inserts an event or a batch.

use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;

use crate::broker::{Broker, Inserted};
use crate::http::codec::body::read_json;
use crate::http::codec::insert_body::parse_insert;
use crate::http::codec::paths::{mount_path, record_location};
use crate::http::codec::schemas::{InsertBody, ProblemBody, Receipt};
use crate::http::problem::Problem;
use crate::http::state::AppState;

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
    insert_body(&state.broker, &body, request.path()).await
}

/// Inserts the events of a body and makes the answer; `path` is the request's.
pub async fn insert_body(
    broker: &Broker,
    body: &Bytes,
    path: &str,
) -> Result<HttpResponse, Problem> {
    let started = Instant::now();
    let (events, is_batch) = parse_insert(body, broker.config())?;
    let inserted = broker.insert_waiting(events).await?;
    broker.metrics().inserted(started.elapsed());
    Ok(receipt(mount_path(path, broker.config(), "/insert"), &inserted, is_batch))
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

//! `POST /produce/{topic}`: an insert whose body is the data.

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};

use crate::http::codec::body::read_json;
use crate::http::codec::paths::{event_in_path, mount_path};
use crate::http::codec::query::Query;
use crate::http::codec::schemas::{ProblemBody, Receipt};
use crate::http::problem::Problem;
use crate::http::routes::insert::receipt;
use crate::http::state::AppState;
use crate::record::json::JsonLimits;
use crate::record::{Data, Identity, NewEvent};

/// Appends the body to a topic, as the next version of its event.
///
/// The answer is sent when the record is on stable storage.
#[utoipa::path(
    post, path = "/produce/{topic}", tag = "topics",
    params(
        ("topic" = String, Path, description = "The topic: an event's name, percent-encoded"),
        ("id" = Option<uuid::Uuid>, Query, description = "Chosen by the client; a retry with the \
            same id does not append twice"),
        ("expected_version" = Option<u64>, Query, description = "Append only if this is the latest \
            version now; 0 means that there must be none"),
    ),
    request_body(content = serde_json::Value, description = "Any JSON value; it is kept byte for \
        byte"),
    responses(
        (status = 201, description = "The record is on stable storage", body = Receipt,
         headers(("Location" = String, description = "Path of the record"))),
        (status = 200, description = "The id was inserted before: the original receipt",
            body = Receipt),
        (status = 400, description = "The body is not acceptable JSON (with line and column), or \
            the topic or a parameter is not valid", body = ProblemBody),
        (status = 408, description = "The body arrived too slowly", body = ProblemBody),
        (status = 409, description = "The latest version is not the expected one, or the id is \
            already used", body = ProblemBody),
        (status = 413, description = "The body is too large", body = ProblemBody),
        (status = 415, description = "The body is not `application/json`", body = ProblemBody),
        (status = 503, description = "The server is overloaded or shutting down; see `Retry-After`",
            body = ProblemBody),
        (status = 507, description = "The disk is full, or a limit on new events is reached",
            body = ProblemBody),
    )
)]
pub async fn produce(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let broker = &state.broker;
    let event = event_in_path(&request, 0)?;
    let query = Query::parse(request.query_string(), &["id", "expected_version"])?;
    let id = query.parsed("id", "a UUID")?;
    let expected_version = query.parsed("expected_version", "a version, as a number")?;
    let body = read_json(&request, payload, broker.config()).await?;
    let started = Instant::now();
    let data = Data::parse(&body, JsonLimits { depth_max: broker.config().max_depth })?;
    let identity = Identity { event, to: None };
    let event = NewEvent { identity, data, id, expected_version, author: None };
    let inserted = broker.insert_waiting(vec![event]).await?;
    broker.metrics().inserted(started.elapsed());
    Ok(receipt(mount_path(request.path(), broker.config(), "/produce/"), &inserted, false))
}

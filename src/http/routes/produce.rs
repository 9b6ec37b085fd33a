//! `POST /produce/{topic}`: an insert whose body is the data itself.

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};

use crate::http::codec::body::read_json;
use crate::http::codec::paths::event_in_path;
use crate::http::codec::query::Query;
use crate::http::codec::schemas::{ProblemBody, Receipt};
use crate::http::problem::Problem;
use crate::http::routes::insert::{prefix, receipt};
use crate::http::state::AppState;
use crate::record::json::JsonLimits;
use crate::record::{Data, Identity, NewEvent};

/// Appends the body as the next version of a topic; answers when it is on stable storage.
#[utoipa::path(
    post, path = "/produce/{topic}", tag = "topics",
    params(
        ("topic" = String, Path, description = "The topic, which is the event's name, percent-encoded"),
        ("id" = Option<uuid::Uuid>, Query, description = "Chosen by the client, so that a retry is safe"),
        ("expected_version" = Option<u64>, Query, description = "The version that must be the newest now; 0 when there must be none"),
    ),
    request_body(content = serde_json::Value, description = "Any JSON value, kept byte for byte"),
    responses(
        (status = 201, description = "On stable storage", body = Receipt,
         headers(("Location" = String, description = "Where the record can be read"))),
        (status = 200, description = "The id was seen before: the original receipt", body = Receipt),
        (status = 400, description = "Malformed JSON, with line and column; or no topic", body = ProblemBody),
        (status = 408, description = "The body came too slowly", body = ProblemBody),
        (status = 409, description = "Another newest version, or a used id", body = ProblemBody),
        (status = 413, description = "The body is too large", body = ProblemBody),
        (status = 415, description = "Not application/json", body = ProblemBody),
        (status = 503, description = "Overloaded or shutting down; see Retry-After", body = ProblemBody),
        (status = 507, description = "The disk, or a limit on new events", body = ProblemBody),
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
    Ok(receipt(prefix(request.path(), broker.config(), "/produce/"), &inserted, false))
}

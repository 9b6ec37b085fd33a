//! `POST /publish`: inserts a message.

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::http::codec::body::read_json;
use crate::http::codec::insert_body::invalid_event;
use crate::http::codec::json::{compact, object, present, text};
use crate::http::codec::paths::mount_path;
use crate::http::codec::schemas::{ProblemBody, Receipt};
use crate::http::problem::Problem;
use crate::http::routes::insert::receipt;
use crate::http::routes::relay::user_id;
use crate::http::routes::relay::user_id::UserId;
use crate::http::state::AppState;
use crate::record::{Data, Identity, Name, NewEvent};

/// A message to all clients of a topic, or to one user.
#[derive(Deserialize, ToSchema)]
#[schema(as = Message)]
#[serde(deny_unknown_fields)]
pub struct PublishBody<'a> {
    /// The topic: an event's name
    #[serde(borrow)]
    #[schema(value_type = String, example = "cats")]
    topic: &'a RawValue,
    /// Any JSON value; it is kept byte for byte as the event's data
    #[serde(borrow)]
    #[schema(value_type = serde_json::Value)]
    message: &'a RawValue,
    /// Makes the message private to this user
    #[serde(borrow, default, deserialize_with = "present")]
    #[schema(value_type = Option<UserId>)]
    user_id: Option<&'a RawValue>,
}

/// Publishes a message.
///
/// The message is inserted as a record; the answer is sent when it is on stable storage. There is
/// no `id`: a retry may publish twice.
#[utoipa::path(
    post, path = "/publish", tag = "relay", request_body = PublishBody,
    responses(
        (status = 201, description = "The message is on stable storage", body = Receipt,
         headers(("Location" = String, description = "Path of the record"))),
        (status = 400, description = "The body is not acceptable JSON; the problem has line and \
            column", body = ProblemBody),
        (status = 408, description = "The body arrived too slowly", body = ProblemBody),
        (status = 413, description = "The body is too large", body = ProblemBody),
        (status = 415, description = "The body is not `application/json`", body = ProblemBody),
        (status = 422, description = "The message is not valid", body = ProblemBody),
        (status = 503, description = "The server is overloaded or shutting down; see `Retry-After`",
            body = ProblemBody),
        (status = 507, description = "The disk is full, or a limit on new events is reached",
            body = ProblemBody),
    )
)]
pub async fn publish(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let broker = &state.broker;
    let config = broker.config();
    let body = read_json(&request, payload, config).await?;
    let started = Instant::now();
    let event = parse_message(&compact(&body, 1, config)?).map_err(invalid_event)?;
    let inserted = broker.insert_waiting(vec![event]).await?;
    broker.metrics().inserted(started.elapsed());
    Ok(receipt(mount_path(request.path(), config, "/publish"), &inserted, false))
}

pub fn parse_message(json: &[u8]) -> Result<NewEvent, String> {
    let body: PublishBody<'_> = object(json, "an object with topic and message")?;
    let topic = text("topic", body.topic)?;
    let event = Name::parse(&topic).map_err(|error| format!("topic: {error}"))?;
    Ok(NewEvent {
        identity: Identity { event, to: body.user_id.map(user_id::parse).transpose()? },
        data: Data::checked(body.message.get().as_bytes().to_vec().into()),
        id: None,
        expected_version: None,
        author: None,
    })
}

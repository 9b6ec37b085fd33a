//! The message relay: clients register, connect, and get what is published to their topics.
//!
//! Registrations are `crate::relay`'s; publishing is an insert, so a message is a record like any
//! other: durable before it is delivered, seen by every stream that may see it, and in the audit.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod socket;
mod user_id;

use std::borrow::Cow;
use std::time::Instant;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

pub use user_id::UserId;

use crate::config::{Authority, Config};
use crate::http::codec::body::read_json;
use crate::http::codec::schemas::{ProblemBody, Receipt};
use crate::http::middleware::cors_host::named_host;
use crate::http::problem::{Code, Problem};
use crate::http::routes::insert::{compact, invalid, object, prefix, present, receipt, text};
use crate::http::state::AppState;
use crate::record::{Data, FilterSet, Identity, Name, NewEvent, User};
use crate::relay::Topics;

/// A relay client that is to connect.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterBody<'a> {
    #[serde(borrow)]
    #[schema(value_type = UserId)]
    user_id: &'a RawValue,
    /// Names or filters; nothing is delivered until there is one
    #[serde(borrow, default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>)]
    topics: Option<&'a RawValue>,
}

/// Where a registered client connects.
#[derive(Serialize, ToSchema)]
pub struct Registered {
    /// Whoever knows it receives as that user
    #[schema(example = "ws://127.0.0.1:8080/ws/5f0c9e3e-9d2b-4c58-8f4f-0d3b5a1c7e21")]
    url: String,
}

/// A message to everybody who has the topic, or to one user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishBody<'a> {
    /// The event's name
    #[serde(borrow)]
    #[schema(value_type = String, example = "cats")]
    topic: &'a RawValue,
    /// The event's data: any JSON value, kept byte for byte
    #[serde(borrow)]
    #[schema(value_type = serde_json::Value)]
    message: &'a RawValue,
    /// Makes it private to that user
    #[serde(borrow, default, deserialize_with = "present")]
    #[schema(value_type = Option<UserId>)]
    user_id: Option<&'a RawValue>,
}

/// Registers a relay client; answers where it connects.
#[utoipa::path(
    post, path = "/register", tag = "relay", request_body = RegisterBody,
    responses(
        (status = 200, description = "Where to connect, before it expires", body = Registered),
        (status = 400, description = "Malformed JSON, or no Host", body = ProblemBody),
        (status = 408, description = "The body came too slowly", body = ProblemBody),
        (status = 413, description = "The body is too large", body = ProblemBody),
        (status = 415, description = "Not application/json", body = ProblemBody),
        (status = 422, description = "No possible user or topics", body = ProblemBody),
        (status = 429, description = "All registrations are taken; see Retry-After", body = ProblemBody),
        (status = 503, description = "Shutting down; see Retry-After", body = ProblemBody),
    )
)]
pub async fn register(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let broker = &state.broker;
    let config = broker.config();
    let body = read_json(&request, payload, config).await?;
    if broker.is_stopping() {
        return Err(Problem::new(Code::ShuttingDown).detail("come back soon"));
    }
    let base = socket_base(&request, config)?;
    let (user, filters) = parse_registration(&compact(&body, 1, config)?, config)
        .map_err(|detail| Problem::new(Code::InvalidRegistration).detail(detail))?;
    let head = broker.head();
    let id = state.relay.register(user, Topics::after(head, filters), head).map_err(|full| {
        Problem::new(Code::TooManyRegistrations)
            .detail("come back soon: those that stay away expire")
            .member("limit", full.registrations_max.get())
    })?;
    let registered = Registered { url: format!("{base}/ws/{id}") };
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(registered))
}

/// Ends a relay client's connection and forgets its registration.
#[utoipa::path(
    delete, path = "/register/{uuid}", tag = "relay",
    params(("uuid" = Uuid, Path, description = "The last segment of the registration's url")),
    responses(
        (status = 204, description = "It is forgotten"),
        (status = 404, description = "There is no such registration", body = ProblemBody),
    )
)]
pub async fn forget(
    path: web::Path<String>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    match Uuid::try_parse(&path) {
        Ok(id) if state.relay.forget(id) => Ok(HttpResponse::NoContent().finish()),
        _ => Err(unknown_registration()),
    }
}

/// Inserts a message; answers when it is on stable storage.
#[utoipa::path(
    post, path = "/publish", tag = "relay", request_body = PublishBody,
    responses(
        (status = 201, description = "On stable storage", body = Receipt,
         headers(("Location" = String, description = "Where the record can be read"))),
        (status = 400, description = "Malformed JSON, with line and column", body = ProblemBody),
        (status = 408, description = "The body came too slowly", body = ProblemBody),
        (status = 413, description = "The body is too large", body = ProblemBody),
        (status = 415, description = "Not application/json", body = ProblemBody),
        (status = 422, description = "Well-formed but not acceptable", body = ProblemBody),
        (status = 503, description = "Overloaded or shutting down; see Retry-After", body = ProblemBody),
        (status = 507, description = "The disk, or a limit on new events", body = ProblemBody),
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
    let event = parse_message(&compact(&body, 1, config)?).map_err(invalid)?;
    let inserted = broker.insert_waiting(vec![event]).await?;
    broker.metrics().inserted(started.elapsed());
    Ok(receipt(prefix(request.path(), config, "/publish"), &inserted, false))
}

/// A registration that is not, or is no more; without its id, which may be somebody's.
fn unknown_registration() -> Problem {
    Problem::new(Code::UnknownRegistration)
        .detail("it expired, was deleted, or never was: POST /register again")
}

/// What stands before `/ws/`: the public URL, or else the host that the caller used.
fn socket_base(request: &HttpRequest, config: &Config) -> Result<String, Problem> {
    if let Some(url) = &config.public_url {
        let url = url.to_string();
        // http becomes ws, and https wss.
        let rest = url.strip_prefix("http").expect("a public URL is http or https");
        return Ok(format!("ws{}", rest.trim_end_matches('/')));
    }
    let host = named_host(request.head()).and_then(Authority::parse);
    let host = host.ok_or_else(|| {
        Problem::new(Code::MalformedRequest)
            .detail("send one Host header with this server's host, or set BROKER_PUBLIC_URL")
    })?;
    let scheme = if request.app_config().secure() { "wss" } else { "ws" };
    Ok(format!("{scheme}://{host}{}", prefix(request.path(), config, "/register")))
}

fn parse_registration(json: &[u8], config: &Config) -> Result<(User, FilterSet), String> {
    let body: RegisterBody<'_> = object(json, "an object with user_id")?;
    let user = user_id::parse(body.user_id)?;
    let filters = body.topics.map(|topics| parse_topics(topics, config)).transpose()?;
    Ok((user, filters.unwrap_or_else(FilterSet::nothing)))
}

/// None at all are nothing, unlike on a stream: a client that names nothing has asked for nothing.
fn parse_topics(topics: &RawValue, config: &Config) -> Result<FilterSet, String> {
    let topics: Vec<Cow<'_, str>> = serde_json::from_str(topics.get())
        .map_err(|_| "topics: send an array of strings, each a name or a filter".to_owned())?;
    if topics.is_empty() {
        return Ok(FilterSet::nothing());
    }
    let filters = FilterSet::parse(topics, config.max_filters.get());
    filters.map_err(|error| format!("topics: {error}"))
}

fn parse_message(json: &[u8]) -> Result<NewEvent, String> {
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

//! `POST /register` and `DELETE /register/{uuid}`: the registrations of relay clients.

use std::borrow::Cow;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::config::{Authority, Config};
use crate::http::codec::body::read_json;
use crate::http::codec::json::{compact, object, present};
use crate::http::codec::paths::mount_path;
use crate::http::codec::schemas::ProblemBody;
use crate::http::middleware::cors_host::named_host;
use crate::http::problem::{Code, Problem};
use crate::http::routes::relay::user_id;
use crate::http::routes::relay::user_id::UserId;
use crate::http::state::AppState;
use crate::record::{FilterSet, User};
use crate::relay::Topics;

/// A relay client to register.
#[derive(Deserialize, ToSchema)]
#[schema(as = Registration)]
#[serde(deny_unknown_fields)]
pub struct RegisterBody<'a> {
    #[serde(borrow)]
    #[schema(value_type = UserId)]
    user_id: &'a RawValue,
    /// Names or filters; without any, nothing is delivered until the client sends some
    #[serde(borrow, default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<String>>)]
    topics: Option<&'a RawValue>,
}

/// The address of a registration.
#[derive(Serialize, ToSchema)]
pub struct Registered {
    /// Where to connect. It is a secret: whoever knows it receives the user's messages
    #[schema(example = "ws://127.0.0.1:8080/ws/5f0c9e3e-9d2b-4c58-8f4f-0d3b5a1c7e21")]
    url: String,
}

/// Registers a relay client.
///
/// The client connects to the returned URL and receives every message that is published to its
/// topics from now on. A registration that nobody is connected to expires.
#[utoipa::path(
    post, path = "/register", tag = "relay", request_body = RegisterBody,
    responses(
        (status = 200, description = "The URL to connect to", body = Registered),
        (status = 400, description = "The body is not acceptable JSON, or the request has no valid \
            `Host`", body = ProblemBody),
        (status = 408, description = "The body arrived too slowly", body = ProblemBody),
        (status = 413, description = "The body is too large", body = ProblemBody),
        (status = 415, description = "The body is not `application/json`", body = ProblemBody),
        (status = 422, description = "The user or the topics are not valid", body = ProblemBody),
        (status = 429, description = "The limit on registrations is reached; see `Retry-After`",
            body = ProblemBody),
        (status = 503, description = "The server is shutting down; see `Retry-After`",
            body = ProblemBody),
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
        return Err(Problem::new(Code::ShuttingDown).detail("retry soon"));
    }
    let base = socket_base(&request, config)?;
    let (user, filters) = parse_registration(&compact(&body, 1, config)?, config)
        .map_err(|detail| Problem::new(Code::InvalidRegistration).detail(detail))?;
    let head = broker.head();
    let id = state.relay.register(user, Topics::after(head, filters), head).map_err(|full| {
        Problem::new(Code::TooManyRegistrations)
            .detail("retry soon: registrations without a connection expire")
            .member("limit", full.registrations_max.get())
    })?;
    let registered = Registered { url: format!("{base}/ws/{id}") };
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(registered))
}

/// Deletes a registration and closes its connection.
#[utoipa::path(
    delete, path = "/register/{uuid}", tag = "relay",
    params(("uuid" = Uuid, Path, description = "The last segment of the registration's url")),
    responses(
        (status = 204, description = "The registration was deleted"),
        (status = 404, description = "The registration does not exist", body = ProblemBody),
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

/// The problem of an unknown registration. It does not repeat the id, which may be a mistyped
/// secret.
pub fn unknown_registration() -> Problem {
    Problem::new(Code::UnknownRegistration)
        .detail("it expired, was deleted or never existed: POST /register again")
}

/// Returns the URL before `/ws/`: based on the public URL, otherwise on the host of the request.
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
    Ok(format!("{scheme}://{host}{}", mount_path(request.path(), config, "/register")))
}

pub fn parse_registration(json: &[u8], config: &Config) -> Result<(User, FilterSet), String> {
    let body: RegisterBody<'_> = object(json, "an object with user_id")?;
    let user = user_id::parse(body.user_id)?;
    let filters = body.topics.map(|topics| parse_topics(topics, config)).transpose()?;
    Ok((user, filters.unwrap_or_else(FilterSet::nothing)))
}

/// Parses topics. Unlike on a stream, an empty list matches nothing rather than everything.
pub fn parse_topics(topics: &RawValue, config: &Config) -> Result<FilterSet, String> {
    let topics: Vec<Cow<'_, str>> = serde_json::from_str(topics.get())
        .map_err(|_| "topics: send an array of strings, each a name or a filter".to_owned())?;
    if topics.is_empty() {
        return Ok(FilterSet::nothing());
    }
    let filters = FilterSet::parse(topics, config.max_filters.get());
    filters.map_err(|error| format!("topics: {error}"))
}

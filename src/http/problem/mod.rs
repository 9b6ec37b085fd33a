//! Errors as problem documents (RFC 9457): one table from code to status.

mod causes;

use std::fmt;

use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::debug;

use crate::http::state::AppState;

/// How long a client should wait that was refused for load.
const RETRY_AFTER_SECONDS: &str = "1";

const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong, for programs; stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    AckTooNew,
    BatchTooLong,
    Behind,
    BodyTimeout,
    BodyTooLarge,
    ConsumerBusy,
    DiskFull,
    EmptyBatch,
    HostRefused,
    IdTaken,
    IdTwice,
    IdsNotReady,
    Internal,
    InvalidEvent,
    InvalidRegistration,
    LimitReached,
    MalformedJson,
    MalformedMessage,
    MalformedName,
    MalformedQuery,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    OriginRefused,
    OutcomeUnknown,
    PartlySeen,
    Private,
    QueueFull,
    ShuttingDown,
    StorageFailed,
    TooManyConsumers,
    TooManyRegistrations,
    TooManyStreams,
    TooManyStreamsForAddress,
    TooManyStreamsForUser,
    UnknownEvent,
    UnknownRegistration,
    UnknownVersion,
    UnsupportedMediaType,
    UpgradeRequired,
    VersionMismatch,
}

impl Code {
    /// Status, name and title; exhaustive, so that no code is without.
    pub fn entry(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::AckTooNew => (
                S::UNPROCESSABLE_ENTITY,
                "ack-too-new",
                "The version to acknowledge does not exist",
            ),
            Self::BatchTooLong => {
                (S::UNPROCESSABLE_ENTITY, "batch-too-long", "The batch has too many events")
            }
            Self::Behind => {
                (S::SERVICE_UNAVAILABLE, "behind", "The history is catching up with the log")
            }
            Self::BodyTimeout => (S::REQUEST_TIMEOUT, "body-timeout", "The body came too slowly"),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
            Self::ConsumerBusy => {
                (S::CONFLICT, "consumer-busy", "Another request of this consumer waits")
            }
            Self::DiskFull => (S::INSUFFICIENT_STORAGE, "disk-full", "The disk is full"),
            Self::EmptyBatch => (S::UNPROCESSABLE_ENTITY, "empty-batch", "The batch has no events"),
            Self::HostRefused => {
                (S::FORBIDDEN, "host-refused", "The Host header names no host of this server")
            }
            Self::IdTaken => (S::CONFLICT, "id-taken", "The id was used for another insert"),
            Self::IdTwice => {
                (S::UNPROCESSABLE_ENTITY, "id-twice", "An id stands twice in the batch")
            }
            Self::IdsNotReady => {
                (S::SERVICE_UNAVAILABLE, "ids-not-ready", "Older ids cannot be looked up yet")
            }
            Self::Internal => {
                (S::INTERNAL_SERVER_ERROR, "internal", "Something went wrong in the server")
            }
            Self::InvalidEvent => {
                (S::UNPROCESSABLE_ENTITY, "invalid-event", "The event cannot be accepted")
            }
            Self::InvalidRegistration => (
                S::UNPROCESSABLE_ENTITY,
                "invalid-registration",
                "The registration cannot be accepted",
            ),
            Self::LimitReached => {
                (S::INSUFFICIENT_STORAGE, "limit-reached", "No new events can be taken in")
            }
            Self::MalformedJson => {
                (S::BAD_REQUEST, "malformed-json", "The body is not acceptable JSON")
            }
            Self::MalformedMessage => {
                (S::BAD_REQUEST, "malformed-message", "The message cannot be understood")
            }
            Self::MalformedName => {
                (S::BAD_REQUEST, "malformed-name", "The path names no possible event")
            }
            Self::MalformedQuery => {
                (S::BAD_REQUEST, "malformed-query", "A query parameter cannot be understood")
            }
            Self::MalformedRequest => {
                (S::BAD_REQUEST, "malformed-request", "The request cannot be understood")
            }
            Self::MethodNotAllowed => {
                (S::METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here")
            }
            Self::NotFound => (S::NOT_FOUND, "not-found", "There is nothing here"),
            Self::OriginRefused => {
                (S::FORBIDDEN, "origin-refused", "Pages of this origin may not connect")
            }
            Self::OutcomeUnknown => (
                S::INTERNAL_SERVER_ERROR,
                "outcome-unknown",
                "It is not known whether the insert was stored",
            ),
            Self::PartlySeen => {
                (S::CONFLICT, "partly-seen", "Some of the batch was inserted before")
            }
            Self::Private => (S::FORBIDDEN, "private", "Private records are their user's"),
            Self::QueueFull => (S::SERVICE_UNAVAILABLE, "queue-full", "Too much is waiting"),
            Self::ShuttingDown => {
                (S::SERVICE_UNAVAILABLE, "shutting-down", "The server is shutting down")
            }
            Self::StorageFailed => {
                (S::SERVICE_UNAVAILABLE, "storage-failed", "The server's storage failed")
            }
            Self::TooManyConsumers => {
                (S::INSUFFICIENT_STORAGE, "too-many-consumers", "No new consumers can be taken in")
            }
            Self::TooManyRegistrations => {
                (S::TOO_MANY_REQUESTS, "too-many-registrations", "All registrations are taken")
            }
            Self::TooManyStreams => {
                (S::SERVICE_UNAVAILABLE, "too-many-streams", "All streams are taken")
            }
            Self::TooManyStreamsForAddress => (
                S::TOO_MANY_REQUESTS,
                "too-many-streams-for-address",
                "All streams of this address are taken",
            ),
            Self::TooManyStreamsForUser => (
                S::TOO_MANY_REQUESTS,
                "too-many-streams-for-user",
                "All streams of this user are taken",
            ),
            Self::UnknownEvent => (S::NOT_FOUND, "unknown-event", "The event does not exist"),
            Self::UnknownRegistration => {
                (S::NOT_FOUND, "unknown-registration", "The registration does not exist")
            }
            Self::UnknownVersion => (S::NOT_FOUND, "unknown-version", "The version does not exist"),
            Self::UnsupportedMediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body must be JSON")
            }
            Self::UpgradeRequired => {
                (S::UPGRADE_REQUIRED, "upgrade-required", "This is a WebSocket")
            }
            Self::VersionMismatch => {
                (S::CONFLICT, "version-mismatch", "The newest version is another one")
            }
        }
    }

    /// Whether the same request may succeed soon.
    fn is_retryable(self) -> bool {
        let (status, ..) = self.entry();
        matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
    }
}

/// A problem document.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: Option<String>,
    /// Members beside the standard ones.
    members: Map<String, Value>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    code: &'a str,
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

impl Problem {
    pub fn new(code: Code) -> Self {
        Self { code, detail: None, members: Map::new() }
    }

    /// What exactly to change; for 5xx nothing that reveals the inside.
    pub fn detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    pub fn code(&self) -> Code {
        self.code
    }

    /// The document.
    pub fn json(&self) -> String {
        let (status, code, title) = self.code.entry();
        let document = Document {
            r#type: format!("urn:broker:problem:{code}"),
            title,
            status: status.as_u16(),
            detail: self.detail.as_deref(),
            code,
            members: &self.members,
        };
        serde_json::to_string(&document).expect("a document of strings serialises")
    }

    pub fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.code.entry().0);
        response.content_type(PROBLEM_JSON).insert_header((header::CACHE_CONTROL, "no-store"));
        if self.code.is_retryable() {
            response.insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS));
        }
        if self.code == Code::UpgradeRequired {
            response.upgrade("websocket").insert_header((header::SEC_WEBSOCKET_VERSION, "13"));
        }
        let mut response = response.body(self.json());
        response.extensions_mut().insert(self.code);
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, code, title) = self.code.entry();
        write!(out, "{code}: {}", self.detail.as_deref().unwrap_or(title))
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.entry().0
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}

/// Turns whatever error answer is left, of actix or of a middleware, into a problem, and counts
/// the refusal.
pub fn as_problem(response: ServiceResponse, state: &AppState) -> ServiceResponse {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error {
        return response;
    }
    let known = response.response().extensions().get::<Code>().copied();
    count(known.unwrap_or(Code::MalformedRequest), status, &route(response.request()), state);
    if is_problem(response.headers().get(header::CONTENT_TYPE)) {
        return response;
    }
    let code = if status.is_server_error() { Code::Internal } else { Code::MalformedRequest };
    let mut problem = Problem::new(code);
    if let Some(error) = response.response().error().filter(|_| status.is_client_error()) {
        problem = problem.detail(error);
    }
    response.into_response(problem.response())
}

/// The answer of a route that was refused, counted.
pub fn refusal_response(problem: &Problem, route: &str, state: &AppState) -> HttpResponse {
    let response = problem.response();
    count(problem.code(), response.status(), route, state);
    response
}

fn count(code: Code, status: StatusCode, route: &str, state: &AppState) {
    let (_, code, _) = code.entry();
    state.broker.metrics().refused(code);
    if status.is_server_error() {
        state.refusals.warn(code, route);
    }
    debug!(code, route, "refused");
}

/// Not the path: the id of a registration in it is a secret, and names may be personal.
fn route(request: &HttpRequest) -> String {
    request.match_pattern().unwrap_or_else(|| "none".to_owned())
}

fn is_problem(content_type: Option<&HeaderValue>) -> bool {
    content_type.is_some_and(|value| value.as_bytes() == PROBLEM_JSON.as_bytes())
}

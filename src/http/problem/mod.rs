//! Errors as problem documents (RFC 9457), and the table of their codes, statuses and titles.

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

/// When a client that was refused because of load should retry.
const RETRY_AFTER_SECONDS: &str = "1";

const PROBLEM_JSON: &str = "application/problem+json";

/// The kind of a problem. The codes are part of the protocol and stable.
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
    /// Returns status, code and title.
    pub fn entry(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::AckTooNew => {
                (S::UNPROCESSABLE_ENTITY, "ack-too-new", "The acknowledged version does not exist")
            }
            Self::BatchTooLong => {
                (S::UNPROCESSABLE_ENTITY, "batch-too-long", "The batch has too many events")
            }
            Self::Behind => {
                (S::SERVICE_UNAVAILABLE, "behind", "The history is catching up with the log")
            }
            Self::BodyTimeout => {
                (S::REQUEST_TIMEOUT, "body-timeout", "The body arrived too slowly")
            }
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
            Self::ConsumerBusy => {
                (S::CONFLICT, "consumer-busy", "Another request of this consumer is waiting")
            }
            Self::DiskFull => (S::INSUFFICIENT_STORAGE, "disk-full", "The disk is full"),
            Self::EmptyBatch => (S::UNPROCESSABLE_ENTITY, "empty-batch", "The batch has no events"),
            Self::HostRefused => {
                (S::FORBIDDEN, "host-refused", "The Host header does not name this server")
            }
            Self::IdTaken => (S::CONFLICT, "id-taken", "The id is already used by another insert"),
            Self::IdTwice => {
                (S::UNPROCESSABLE_ENTITY, "id-twice", "An id occurs twice in the batch")
            }
            Self::IdsNotReady => {
                (S::SERVICE_UNAVAILABLE, "ids-not-ready", "Older ids cannot be looked up yet")
            }
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "Internal server error"),
            Self::InvalidEvent => {
                (S::UNPROCESSABLE_ENTITY, "invalid-event", "The event is not valid")
            }
            Self::InvalidRegistration => {
                (S::UNPROCESSABLE_ENTITY, "invalid-registration", "The registration is not valid")
            }
            Self::LimitReached => {
                (S::INSUFFICIENT_STORAGE, "limit-reached", "The limit on events is reached")
            }
            Self::MalformedJson => {
                (S::BAD_REQUEST, "malformed-json", "The body is not acceptable JSON")
            }
            Self::MalformedMessage => {
                (S::BAD_REQUEST, "malformed-message", "The message is malformed")
            }
            Self::MalformedName => {
                (S::BAD_REQUEST, "malformed-name", "The path does not contain a valid event name")
            }
            Self::MalformedQuery => {
                (S::BAD_REQUEST, "malformed-query", "A query parameter is not valid")
            }
            Self::MalformedRequest => {
                (S::BAD_REQUEST, "malformed-request", "The request is malformed")
            }
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "This route does not support the method",
            ),
            Self::NotFound => (S::NOT_FOUND, "not-found", "This path does not exist"),
            Self::OriginRefused => {
                (S::FORBIDDEN, "origin-refused", "Pages from this origin may not connect")
            }
            Self::OutcomeUnknown => (
                S::INTERNAL_SERVER_ERROR,
                "outcome-unknown",
                "It is unknown whether the insert was stored",
            ),
            Self::PartlySeen => {
                (S::CONFLICT, "partly-seen", "Some events of the batch were inserted before")
            }
            Self::Private => {
                (S::FORBIDDEN, "private", "Private records can be read by their user only")
            }
            Self::QueueFull => (S::SERVICE_UNAVAILABLE, "queue-full", "The insert queue is full"),
            Self::ShuttingDown => {
                (S::SERVICE_UNAVAILABLE, "shutting-down", "The server is shutting down")
            }
            Self::StorageFailed => {
                (S::SERVICE_UNAVAILABLE, "storage-failed", "The server's storage has failed")
            }
            Self::TooManyConsumers => {
                (S::INSUFFICIENT_STORAGE, "too-many-consumers", "The limit on consumers is reached")
            }
            Self::TooManyRegistrations => (
                S::TOO_MANY_REQUESTS,
                "too-many-registrations",
                "The limit on registrations is reached",
            ),
            Self::TooManyStreams => {
                (S::SERVICE_UNAVAILABLE, "too-many-streams", "The limit on streams is reached")
            }
            Self::TooManyStreamsForAddress => (
                S::TOO_MANY_REQUESTS,
                "too-many-streams-for-address",
                "The limit on streams from this address is reached",
            ),
            Self::TooManyStreamsForUser => (
                S::TOO_MANY_REQUESTS,
                "too-many-streams-for-user",
                "The limit on streams of this user is reached",
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
                (S::UPGRADE_REQUIRED, "upgrade-required", "This route requires a WebSocket")
            }
            Self::VersionMismatch => {
                (S::CONFLICT, "version-mismatch", "The latest version is not the expected one")
            }
        }
    }

    /// Whether the same request may succeed if it is retried soon.
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
    /// Members in addition to the standard ones.
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

    /// Sets the detail: what to change about this request. For 5xx it must not reveal internals.
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

    /// Returns the document as JSON.
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
        serde_json::to_string(&document).expect("a map with string keys serialises")
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

/// Counts an error answer, and makes it a problem document if actix or a middleware made it.
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

/// Returns the answer for a refused request of `route`, and counts it.
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

/// Returns the route's pattern. The path is not logged: it may contain a registration's id, which
/// is a secret, or personal names.
fn route(request: &HttpRequest) -> String {
    request.match_pattern().unwrap_or_else(|| "none".to_owned())
}

fn is_problem(content_type: Option<&HeaderValue>) -> bool {
    content_type.is_some_and(|value| value.as_bytes() == PROBLEM_JSON.as_bytes())
}

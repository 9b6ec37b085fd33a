//! Errors as problem documents (RFC 9457).

mod causes;
mod code;

use std::fmt;

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use serde_json::{Map, Value};

pub use code::Code;

/// When a client that was refused because of load should retry.
const RETRY_AFTER_SECONDS: &str = "1";

/// The content type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

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
        let code = self.code.name();
        let document = Document {
            r#type: format!("urn:broker:problem:{code}"),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: self.detail.as_deref(),
            code,
            members: &self.members,
        };
        serde_json::to_string(&document).expect("a map with string keys serialises")
    }

    pub fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.code.status());
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
        let detail = self.detail.as_deref().unwrap_or(self.code.title());
        write!(out, "{}: {detail}", self.code.name())
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}

/// Makes a 405 that lists the methods of the route.
pub fn method_not_allowed(methods: &[Method], detail: impl fmt::Display) -> HttpResponse {
    let mut response = Problem::new(Code::MethodNotAllowed).detail(detail).response();
    let allow = HeaderValue::from_str(&method_names(methods));
    let allow = allow.expect("method names are a header value");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

/// Returns the methods as a list for `Allow`.
pub fn method_names(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

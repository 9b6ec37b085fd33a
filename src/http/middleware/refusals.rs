//! Counts and logs refused requests, and turns the error answers of actix into problem documents.

use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use tracing::debug;

use crate::http::problem::{Code, PROBLEM_JSON, Problem};
use crate::http::state::AppState;

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
    let code = code.name();
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

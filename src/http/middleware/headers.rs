//! The headers of every answer.

use actix_http::ConnectionType;
use actix_web::dev::ServiceResponse;
use actix_web::http::Version;
use actix_web::http::header::{self, HeaderMap, HeaderValue};

/// The names that CORS adds to `Vary`. Answers without an `Origin` need them too, so that a cache
/// does not use an answer to one origin for another.
const VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// Sets the headers that every answer has, for answers that do not pass the middleware.
pub fn set_defaults(headers: &mut HeaderMap) {
    add_vary(headers);
    add_nosniff(headers);
}

/// Adds the names of [`VARY`].
pub fn add_vary(headers: &mut HeaderMap) {
    let value = match headers.get(header::VARY).and_then(|value| value.to_str().ok()) {
        None => HeaderValue::from_static(VARY),
        Some(before) => HeaderValue::from_str(&format!("{before}, {VARY}"))
            .expect("header names separated by commas are a header value"),
    };
    headers.insert(header::VARY, value);
}

/// Keeps browsers from guessing another content type than the declared one.
fn add_nosniff(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Completes an answer, after CORS.
pub fn finish(mut answer: ServiceResponse) -> ServiceResponse {
    add_nosniff(answer.headers_mut());
    if answer.request().version() == Version::HTTP_10 {
        // HTTP/1.0 has no chunked encoding (RFC 9112, section 6.1): the connection's end is the
        // body's.
        let head = answer.response_mut().head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
    answer
}

//! Conditional reads with `ETag` and `If-None-Match`.

use actix_web::body::MessageBody;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};

/// Returns the response, or 304 when the client already has it (RFC 9110, section 13.1.2).
pub fn with_etag<B: MessageBody + 'static>(
    request: &HttpRequest,
    etag: &str,
    content_type: &str,
    body: impl FnOnce() -> B,
) -> HttpResponse {
    let given = request.headers().get_all(header::IF_NONE_MATCH);
    let is_held = given.filter_map(|value| value.to_str().ok()).any(|value| {
        let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        value.trim() == "*" || value.split(',').any(|tag| strong(tag) == strong(etag))
    });
    let mut response = match is_held {
        true => HttpResponse::NotModified(),
        false => HttpResponse::Ok(),
    };
    response.insert_header((header::ETAG, etag)).insert_header((header::CACHE_CONTROL, "no-cache"));
    if is_held {
        return response.finish();
    }
    response.content_type(content_type).body(body())
}

//! Reads request bodies: JSON only, limited in size and in time.

use std::time::Duration;

use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::config::Config;
use crate::http::problem::{Code, Problem};

/// Reads a JSON body within the configured limits of size and time.
pub async fn read_json(
    request: &HttpRequest,
    payload: web::Payload,
    config: &Config,
) -> Result<Bytes, Problem> {
    check_media_type(request.headers())?;
    if declared_bytes(request.headers()).is_some_and(|len| len > config.max_body_bytes) {
        return Err(too_large(config.max_body_bytes));
    }
    let read = read(payload, config.max_body_bytes);
    timeout(config.body_timeout, read).await.unwrap_or_else(|_| Err(too_slow(config.body_timeout)))
}

/// Returns the body length that the headers declare.
pub fn declared_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(mut payload: web::Payload, bytes_max: usize) -> Result<Bytes, Problem> {
    // Most bodies arrive in one chunk, which is used without a copy.
    let (mut only, mut joined) = (Bytes::new(), BytesMut::new());
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| Problem::new(Code::MalformedRequest).detail(error))?;
        if only.len() + joined.len() + chunk.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        if only.is_empty() && joined.is_empty() {
            only = chunk;
            continue;
        }
        joined.extend_from_slice(&std::mem::take(&mut only));
        joined.extend_from_slice(&chunk);
    }
    Ok(if joined.is_empty() { only } else { joined.freeze() })
}

/// Requires `application/json`. Browsers preflight it, so a hostile page cannot post blindly.
pub fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let value = headers.get(header::CONTENT_TYPE);
    let essence = value.and_then(|value| value.to_str().ok()?.split(';').next());
    if essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    Err(Problem::new(Code::UnsupportedMediaType)
        .detail("send the header Content-Type: application/json"))
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Code::BodyTooLarge)
        .detail(format!("send at most {bytes_max} bytes, or raise BROKER_MAX_BODY_BYTES"))
        .member("limit", bytes_max)
}

fn too_slow(limit: Duration) -> Problem {
    Problem::new(Code::BodyTimeout)
        .detail(format!("the whole body must arrive within {} s", limit.as_secs_f64()))
}

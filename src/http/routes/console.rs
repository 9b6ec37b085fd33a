//! Serves the console: the page at `/`, built from `client/` and embedded in the binary.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest as _, Sha256};

use crate::http::codec::etag::with_etag;
use crate::record::push_hex;

/// Allows only this server's own files and no inline script, so that a stored value that reached
/// the page as markup could not run.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

pub async fn index(request: HttpRequest) -> HttpResponse {
    let html = include_bytes!("../../../client/dist/index.html");
    file(&request, "text/html; charset=utf-8", html)
}

pub async fn script(request: HttpRequest) -> HttpResponse {
    let script = include_bytes!("../../../client/dist/page.js");
    file(&request, "text/javascript; charset=utf-8", script)
}

pub async fn style(request: HttpRequest) -> HttpResponse {
    let style = include_bytes!("../../../client/dist/page.css");
    file(&request, "text/css; charset=utf-8", style)
}

pub async fn icon(request: HttpRequest) -> HttpResponse {
    file(&request, "image/svg+xml", include_bytes!("../../../client/dist/icon.svg"))
}

fn file(request: &HttpRequest, content_type: &str, bytes: &'static [u8]) -> HttpResponse {
    let mut etag = String::from("\"");
    push_hex(&mut etag, &Sha256::digest(bytes)[..8]);
    etag.push('"');
    let mut response = with_etag(request, &etag, content_type, || bytes::Bytes::from_static(bytes));
    let headers =
        [("content-security-policy", CONTENT_SECURITY_POLICY), ("referrer-policy", "no-referrer")];
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(header::HeaderName::from_static(name), header::HeaderValue::from_static(value));
    }
    response
}

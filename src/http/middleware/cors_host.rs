//! Cross-origin access (CORS), and the check of `Host` on loopback.

use actix_cors::Cors;
use actix_web::dev::RequestHead;
use actix_web::http::header;

use crate::config::{Authority, Config, Origin};
use crate::http::problem::{Code, Problem};

/// How long browsers may cache a preflight.
const PREFLIGHT_SECONDS: usize = 600;

/// Makes the CORS middleware for the configured origins: `*` excludes cookies, listed origins may
/// send them.
pub fn cors(origin: &Origin) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "HEAD", "POST", "DELETE"])
        .allow_any_header()
        .expose_headers([header::ETAG, header::LINK, header::LOCATION, header::RETRY_AFTER])
        .max_age(PREFLIGHT_SECONDS)
        .block_on_origin_mismatch(false);
    match origin {
        Origin::Any => cors.allow_any_origin().send_wildcard(),
        Origin::Listed(_) => allow(cors, origin.clone()).supports_credentials(),
        Origin::Loopback => allow(cors, origin.clone()),
    }
}

fn allow(cors: Cors, origin: Origin) -> Cors {
    cors.allowed_origin_fn(move |value, _| value.to_str().is_ok_and(|text| origin.allows(text)))
}

/// On loopback, refuses a request whose `Host` is neither a loopback name nor that of the public
/// URL. It stops DNS rebinding: if a hostile site makes its name resolve to 127.0.0.1, the browser
/// takes the site's pages for this server's.
pub fn check_host(head: &RequestHead, config: &Config) -> Result<(), Problem> {
    let host = named_host(head);
    if is_own_host(config, host) {
        return Ok(());
    }
    let detail = format!(
        "{} is not a name of this server: use localhost or 127.0.0.1, or set BROKER_PUBLIC_URL \
         to the URL under which a proxy serves it",
        host.unwrap_or("a request without one Host header")
    );
    Err(Problem::new(Code::HostRefused).detail(detail))
}

/// Returns the authority of an absolute target, otherwise the `Host` header, unless there are
/// several (RFC 9112, section 3.2). Headers that a page can set itself, such as `X-Forwarded-Host`,
/// are not trusted.
pub fn named_host(head: &RequestHead) -> Option<&str> {
    let mut hosts = head.headers().get_all(header::HOST);
    let host = hosts.next();
    if hosts.next().is_some() {
        return None;
    }
    match head.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => host?.to_str().ok(),
    }
}

fn is_own_host(config: &Config, host: Option<&str>) -> bool {
    if !config.host.to_canonical().is_loopback() {
        return true;
    }
    let Some(authority) = host.and_then(Authority::parse) else { return false };
    let public = config.public_url.as_ref();
    authority.is_loopback() || public.is_some_and(|url| *url.authority() == authority)
}

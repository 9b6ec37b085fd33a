//! Event names in paths. They are read from the raw path, because decoding loses the difference
//! between `/` and `%2F` and between different invalid names.

use std::fmt::Write as _;

use actix_web::HttpRequest;
use percent_encoding::percent_decode_str;

use crate::config::Config;
use crate::http::problem::{Code, Problem};
use crate::record::{Identity, Name};

/// Returns the event named by a path segment, counted from the end (0 is the last).
pub fn event_in_path(request: &HttpRequest, from_end: usize) -> Result<Name, Problem> {
    let malformed = |detail: String| Problem::new(Code::MalformedName).detail(detail);
    let segment = request.uri().path().rsplit('/').nth(from_end).unwrap_or_default();
    let decoded = percent_decode_str(segment).decode_utf8();
    let decoded = decoded.map_err(|_| malformed(format!("{segment:?} is not UTF-8")))?;
    Name::parse(&decoded).map_err(|error| malformed(format!("{decoded:?}: {error}")))
}

/// Returns the path prefix of the routes: the path of the public URL, otherwise the part of the
/// request's `path` before `route`.
pub fn mount_path<'a>(path: &'a str, config: &'a Config, route: &str) -> &'a str {
    match &config.public_url {
        Some(url) => url.path(),
        None => path.rsplit_once(route).map(|(scope, _)| scope).unwrap_or_default(),
    }
}

/// Returns the path at which a record can be read; `prefix` is the path of the mounted routes.
pub fn record_location(prefix: &str, identity: &Identity, version: u64) -> String {
    let name = identity.event.as_str();
    // Exact for a name without escapes, which saves a copy when it becomes a header.
    let digits = version.checked_ilog10().unwrap_or_default() as usize + 1;
    let len = prefix.len() + "/audit/".len() + name.len() + "/".len() + digits;
    let mut location = String::with_capacity(len);
    location.push_str(prefix);
    location.push_str("/audit/");
    push_encoded(&mut location, name);
    write!(location, "/{version}").expect("writing to a string cannot fail");
    if let Some(to) = &identity.to {
        location.push_str("?to=");
        push_encoded(&mut location, to.as_str());
    }
    location
}

/// Percent-encodes everything except the unreserved characters of RFC 3986.
pub fn push_encoded(out: &mut String, text: &str) {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    if text.bytes().all(is_plain) {
        return out.push_str(text);
    }
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
}

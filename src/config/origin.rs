//! The web pages that may call the server, and the URL at which the server is reached.

use std::fmt;
use std::str::FromStr;

use crate::config::authority::Authority;
use crate::config::error::ValueError;

const ORIGIN_ADVICE: &str = "write loopback, or *, or origins as scheme://host[:port] without a \
                             path, separated by commas, such as https://app.example.com";
const URL_ADVICE: &str = "write an http or https URL without user, query or fragment, such as \
                          https://broker.example.com";

/// The web pages that may call the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Any page, without cookies.
    Any,
    /// Pages of the listed origins only.
    Listed(Vec<WebOrigin>),
    /// Pages served from this machine.
    Loopback,
}

/// `scheme://host[:port]` as a browser writes it: lower case, without a port that the scheme
/// implies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WebOrigin {
    scheme: String,
    authority: Authority,
}

/// An http or https URL, whose host is accepted in the `Host` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    origin: WebOrigin,
    /// The path from its leading slash, without a trailing one; may be empty.
    path: String,
}

impl Origin {
    /// True if a page with this `Origin` header may call the server.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(listed) => {
                WebOrigin::parse(origin).is_some_and(|origin| listed.contains(&origin))
            }
            Self::Loopback => WebOrigin::parse(origin).is_some_and(|origin| {
                matches!(origin.scheme.as_str(), "http" | "https") && origin.authority.is_loopback()
            }),
        }
    }
}

impl Origin {
    /// True if a page with this `Origin` header was served by `host`, over http or https, because a
    /// proxy may add TLS.
    #[must_use]
    pub fn is_at(origin: &str, host: &Authority) -> bool {
        WebOrigin::parse(origin).is_some_and(|origin| {
            matches!(origin.scheme.as_str(), "http" | "https")
                && origin.authority == host.clone().without_default_port(&origin.scheme)
        })
    }
}

impl WebOrigin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(letters) {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let authority = Authority::parse(authority)?.without_default_port(&scheme);
        Some(Self { scheme, authority })
    }
}

impl PublicUrl {
    /// The host, and the port unless the scheme implies it, as clients send them in `Host`.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.origin.authority
    }

    /// The origin of pages that the server serves at this URL.
    #[must_use]
    pub fn origin(&self) -> &WebOrigin {
        &self.origin
    }

    /// The path under which the server is mounted: empty, or such as `/broker`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for Origin {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.trim() {
            "*" => return Ok(Self::Any),
            "loopback" => return Ok(Self::Loopback),
            _ => {}
        }
        let mut listed = Vec::new();
        for item in text.split(',').map(str::trim) {
            match WebOrigin::parse(item) {
                Some(origin) if listed.contains(&origin) => {}
                Some(origin) => listed.push(origin),
                None if item == text => return Err(ValueError::new(ORIGIN_ADVICE)),
                None => {
                    return Err(ValueError::new(format!(
                        "{item:?} is not an origin; {ORIGIN_ADVICE}"
                    )));
                }
            }
        }
        Ok(Self::Listed(listed))
    }
}

impl FromStr for PublicUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let text = text.trim();
        let after_scheme = text.find("://").map_or(0, |at| at + 3);
        let path_at = text[after_scheme..].find('/').map_or(text.len(), |at| after_scheme + at);
        let (origin, path) = text.split_at(path_at);
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'\\');
        match WebOrigin::parse(origin) {
            Some(origin)
                if matches!(origin.scheme.as_str(), "http" | "https")
                    && path.bytes().all(plain) =>
            {
                Ok(Self { origin, path: path.trim_end_matches('/').to_owned() })
            }
            _ => Err(ValueError::new(URL_ADVICE)),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => out.write_str("*"),
            Self::Listed(listed) => {
                let texts: Vec<_> = listed.iter().map(ToString::to_string).collect();
                out.write_str(&texts.join(","))
            }
            Self::Loopback => out.write_str("loopback"),
        }
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.scheme, self.authority)
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.origin, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().expect("origins")
    }

    #[test]
    fn listed_origins_are_compared_as_browsers_write_them() {
        let listed = origin("https://App.example.com:443, http://10.0.0.7:3000,tauri://localhost");
        let text = "https://app.example.com,http://10.0.0.7:3000,tauri://localhost";
        assert_eq!(listed.to_string(), text);
        assert_eq!(origin(text), listed);
        for allowed in ["https://app.example.com", "http://10.0.0.7:3000", "tauri://localhost"] {
            assert!(listed.allows(allowed), "{allowed:?}");
        }
        for refused in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.example",
            "https://evil.app.example.com",
            "http://10.0.0.7",
            "null",
            "",
        ] {
            assert!(!listed.allows(refused), "{refused:?}");
        }
    }

    #[test]
    fn loopback_pages_are_allowed_on_any_port_and_no_others() {
        for allowed in ["http://localhost:5173", "https://127.0.0.1", "http://[::1]:8080"] {
            assert!(Origin::Loopback.allows(allowed), "{allowed:?}");
        }
        for refused in ["http://localhost.evil.example", "http://10.0.0.7", "null", "x://localhost"]
        {
            assert!(!Origin::Loopback.allows(refused), "{refused:?}");
        }
        assert!(Origin::Any.allows("null"));
    }

    #[test]
    fn malformed_origins_are_refused_and_named() {
        for refused in [
            "app.example.com",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://u@app.example.com",
            "https://",
            "null",
            "https://a.example,*",
            "https://a.example,",
            "loopback,https://a.example",
            "https://*.example.com",
            "1http://a.example",
            "https://exämple.com",
        ] {
            assert!(refused.parse::<Origin>().is_err(), "{refused:?}");
        }
        let error = "https://a.example, b.example".parse::<Origin>().expect_err("no scheme");
        assert!(error.to_string().starts_with("\"b.example\" is not an origin; write "));
    }

    #[test]
    fn public_urls_keep_host_and_path() {
        let url: PublicUrl = "https://Broker.example.com:443/live/".parse().expect("a URL");
        assert_eq!(url.to_string(), "https://broker.example.com/live");
        assert_eq!(url.authority().to_string(), "broker.example.com");
        assert_eq!(url.origin().to_string(), "https://broker.example.com");
        assert_eq!(url.path(), "/live");
        let url: PublicUrl = "http://10.0.0.7:8080".parse().expect("a URL");
        assert_eq!((url.to_string().as_str(), url.path()), ("http://10.0.0.7:8080", ""));
        for refused in [
            "broker.example.com",
            "ftp://a.example",
            "https://a.example/?q",
            "https://a.example#f",
            "https://a.example?x=//",
            "https://u:p@a.example",
            "https:///path",
            "https://a b",
            "/",
        ] {
            assert!(refused.parse::<PublicUrl>().is_err(), "{refused:?}");
        }
    }
}

//! The authority of a URL: a host and an optional port.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// `host[:port]` of an origin, a URL or a `Host` header; the host is in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// A DNS name, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    /// The port, if present.
    pub port: Option<u16>,
}

impl Authority {
    /// Parses `host[:port]`. `None` for anything else, such as a user, a path or a non-ASCII host.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            // The colons of an IPv6 address are inside its brackets.
            Some((host, port)) if !port.ends_with(']') => (host, Some(parse_port(port)?)),
            _ => (text, None),
        };
        Some(Self { host: parse_host(host)?, port })
    }

    /// True if the host is this machine: `localhost`, `*.localhost`, 127.0.0.0/8 or `[::1]`. Names
    /// are not looked up.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.host.strip_suffix('.').unwrap_or(&self.host);
        host == "localhost"
            || host.ends_with(".localhost")
            || host == "[::1]"
            || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    }

    /// Drops a port that the scheme implies, as browsers do.
    pub(super) fn without_default_port(mut self, scheme: &str) -> Self {
        let implied = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        if self.port == implied {
            self.port = None;
        }
        self
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.host)?;
        match self.port {
            Some(port) => write!(out, ":{port}"),
            None => Ok(()),
        }
    }
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn parse_host(text: &str) -> Option<String> {
    if let Some(address) = text.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    // A final dot is the DNS root; names have at most 253 bytes (RFC 1035).
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() <= 253 && name.split('.').all(label) {
        Some(text.to_ascii_lowercase())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authority_is_a_host_with_an_optional_port() {
        for (text, host, port) in [
            ("app.Example.com", "app.example.com", None),
            ("localhost:8080", "localhost", Some(8080)),
            ("10.0.0.7:0", "10.0.0.7", Some(0)),
            ("[::1]", "[::1]", None),
            ("[0:0::1]:99", "[::1]", Some(99)),
        ] {
            let parsed = Authority::parse(text);
            assert_eq!(parsed, Some(Authority { host: host.to_owned(), port }), "{text:?}");
        }
        for refused in [
            "",
            ":80",
            "a:",
            "a:b",
            "a:+1",
            "a:65536",
            "a b",
            "a/b",
            "u@a",
            "a..b",
            ".",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "*.example.com",
            "exämple.com",
            "a?b",
            "a#b",
            "a\\b",
        ] {
            assert_eq!(Authority::parse(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn loopback_is_localhost_names_and_loopback_addresses_only() {
        let loopback = |text| Authority::parse(text).expect("an authority").is_loopback();
        for text in
            ["localhost", "LOCALHOST:1", "app.localhost", "localhost.", "127.9.9.9:80", "[::1]:80"]
        {
            assert!(loopback(text), "{text:?}");
        }
        for text in
            ["localhost.example.com", "notlocalhost", "127.0.0.1.example.com", "10.0.0.1", "[::2]"]
        {
            assert!(!loopback(text), "{text:?}");
        }
    }
}

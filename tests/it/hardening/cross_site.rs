//! Attacks by pages of other sites in the browser of somebody who runs Broker.

use broker::Config;

use crate::harness::server::{Server, small};
use crate::harness::wire::Answer;

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";

fn preflight(server: &Server, origin: &str, method: &str) -> Answer {
    let origin = format!("Origin: {origin}");
    let method = format!("Access-Control-Request-Method: {method}");
    let headers = [&origin, &method, "Access-Control-Request-Headers: content-type"];
    server.client().send("OPTIONS", "/insert", &headers, b"")
}

/// Cache confusion: an answer to a program, which sent no origin, must not be reused for a page.
#[test]
fn every_response_varies_by_origin() {
    let server = Server::with(with_origin("https://app.example.com"));
    let insert = server.client().insert("{\"event\":\"a\",\"data\":1}").expect(201);
    let vary = |answer: &Answer| answer.header("vary").map(str::to_owned);
    let names = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    for target in ["/latest", "/health", "/nothing", "/insert"] {
        let answer = server.client().get_with(target, &[]);
        assert_eq!(vary(&answer).as_deref(), Some(names), "{target}");
        assert_eq!(answer.header(ALLOW_ORIGIN), None);
        let paged = server.client().get_with(target, &["Origin: https://app.example.com"]);
        assert_eq!(vary(&paged), vary(&answer), "{target}");
        assert_eq!(paged.header(ALLOW_ORIGIN), Some("https://app.example.com"), "{target}");
    }
    assert_eq!(vary(&insert).as_deref(), Some(names));
    let history = server.client().get_with("/audit/a", &[]);
    assert_eq!(vary(&history), Some(format!("Accept, {names}")));
}

fn with_origin(origin: &str) -> Config {
    small().origin(origin.parse().expect("an origin"))
}

/// DNS rebinding: after its page has loaded, evil.example resolves to 127.0.0.1. The browser then
/// treats the server as the page's own origin and lets it read everything.
#[test]
fn foreign_host_is_refused_on_every_route() {
    let server = Server::start();
    server.client().put("a", "1");
    let hosts = [
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example@localhost",
        "localhost@evil.example",
        "10.0.0.1",
        "169.254.169.254",
        "[::ffff:7f00:1]x",
        "0x7f000001.example",
        "localhost:",
        "localhost:+80",
        "localhost:65536",
        "127.0.0.1:8a",
        "localhost evil.example",
        "",
    ];
    for host in hosts {
        let host = format!("Host: {host}");
        for target in ["/", "/events", "/latest", "/audit/a", "/log", "/health", "/nothing"] {
            let answer = server.client().get_with(target, &[&host]);
            answer.problem(403, "host-refused");
            assert!(!answer.text().contains("\"data\":"));
        }
        let headers = [host.as_str(), "Content-Type: application/json"];
        let insert =
            server.client().send("POST", "/insert", &headers, b"{\"event\":\"a\",\"data\":1}");
        insert.problem(403, "host-refused");
    }
    for host in
        ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.1.2.3", "[::1]:9", "app.localhost"]
    {
        server.client().get_with("/latest", &[&format!("Host: {host}")]).expect(200);
    }
    assert_eq!(server.client().lines("/audit/a").len(), 1);
}

/// DNS rebinding with an absolute request target, which overrides `Host` (RFC 9112, section 3.2.2),
/// or with a second `Host` header, which another parser would use.
#[test]
fn absolute_target_or_second_host_does_not_bypass_the_host_check() {
    let server = Server::start();
    let absolute = "GET http://evil.example/latest HTTP/1.1\r\nHost: localhost\r\n\
                    Connection: close\r\n\r\n";
    let answer = server.client().raw("GET", absolute.as_bytes()).expect("an answer");
    assert!(matches!(answer.status, 400 | 403), "{answer:?}");
    let twice = "GET /latest HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\
                 Connection: close\r\n\r\n";
    let answer = server.client().raw("GET", twice.as_bytes()).expect("an answer");
    assert!(matches!(answer.status, 400 | 403), "{answer:?}");
    let none = "GET /latest HTTP/1.1\r\nConnection: close\r\n\r\n";
    let answer = server.client().raw("GET", none.as_bytes()).expect("an answer");
    assert!(matches!(answer.status, 400 | 403), "{answer:?}");
}

/// DNS rebinding with a forged `Forwarded` or `X-Forwarded-Host` header.
#[test]
fn forwarded_host_does_not_replace_the_host_header() {
    let server = Server::start();
    for forwarded in ["X-Forwarded-Host: localhost", "Forwarded: host=localhost"] {
        let answer = server.client().get_with("/latest", &["Host: evil.example", forwarded]);
        answer.problem(403, "host-refused");
        // Nor does it replace the host of an absolute target.
        let absolute = format!(
            "GET http://evil.example/latest HTTP/1.1\r\nHost: evil.example\r\n{forwarded}\r\n\
             Connection: close\r\n\r\n"
        );
        let answer = server.client().raw("GET", absolute.as_bytes()).expect("an answer");
        assert!(matches!(answer.status, 400 | 403), "{answer:?}");
    }
}

/// Behind a proxy, the host of the public URL is accepted; a parent domain is not.
#[test]
fn host_of_the_public_url_is_accepted() {
    let url = "https://broker.example.com".parse::<broker::config::PublicUrl>().expect("a url");
    let server = Server::with(small().public_url(url));
    server.client().get_with("/latest", &["Host: broker.example.com"]).expect(200);
    let other = server.client().get_with("/latest", &["Host: example.com"]);
    other.problem(403, "host-refused");
}

/// A page of any site tries to read and to insert.
#[test]
fn by_default_only_local_origins_are_allowed() {
    let server = Server::start();
    for origin in ["https://evil.example", "null", "http://localhost.evil.example", "file://"] {
        let asked = preflight(&server, origin, "POST");
        assert_eq!(asked.header(ALLOW_ORIGIN), None, "{origin}: {asked:?}");
        let read = server.client().get_with("/latest", &[&format!("Origin: {origin}")]);
        assert_eq!(read.header(ALLOW_ORIGIN), None, "{origin}: {read:?}");
    }
    for origin in ["http://localhost:5173", "https://localhost", "http://127.0.0.1:8080"] {
        let asked = preflight(&server, origin, "POST").expect(200);
        assert_eq!(asked.header(ALLOW_ORIGIN), Some(origin));
        assert_eq!(asked.header(ALLOW_CREDENTIALS), None);
        let stream = server.client().get_with("/latest", &[&format!("Origin: {origin}")]);
        assert_eq!(stream.expect(200).header(ALLOW_ORIGIN), Some(origin));
    }
}

/// `*` together with credentials would let every page act as the logged-in user.
#[test]
fn wildcard_origin_excludes_cookies() {
    let server = Server::with(with_origin("*"));
    for origin in ["https://anywhere.example", "null"] {
        let asked = preflight(&server, origin, "POST").expect(200);
        assert_eq!(asked.header(ALLOW_ORIGIN), Some("*"));
        assert_eq!(asked.header(ALLOW_CREDENTIALS), None);
        let read = server.client().get_with("/latest", &[&format!("Origin: {origin}")]).expect(200);
        assert_eq!(read.header(ALLOW_ORIGIN), Some("*"));
        assert_eq!(read.header(ALLOW_CREDENTIALS), None);
    }
}

/// Lookalike origins: a listed origin allows no prefix, subdomain, other scheme or other port.
#[test]
fn listed_origins_match_exactly_and_may_send_cookies() {
    let server = Server::with(with_origin("https://app.example.com,https://b.example:8443"));
    for origin in ["https://app.example.com", "https://b.example:8443"] {
        let asked = preflight(&server, origin, "POST").expect(200);
        assert_eq!(asked.header(ALLOW_ORIGIN), Some(origin));
        assert_eq!(asked.header(ALLOW_CREDENTIALS), Some("true"));
    }
    for origin in [
        "http://app.example.com",
        "https://app.example.com:444",
        "https://app.example.com.evil",
        "https://x.app.example.com",
        "https://evil.example",
        "http://localhost",
        "null",
    ] {
        assert_eq!(preflight(&server, origin, "POST").header(ALLOW_ORIGIN), None, "{origin}");
        let read = server.client().get_with("/latest", &[&format!("Origin: {origin}")]);
        assert_eq!(read.header(ALLOW_ORIGIN), None, "{origin}");
    }
}

/// Cross-site request forgery: forms post "simple" requests without a preflight.
#[test]
fn cross_site_form_cannot_insert() {
    let server = Server::with(with_origin("*"));
    let body = b"{\"event\":\"a\",\"data\":\"=\"}";
    for media in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
        "text/plain, application/json",
    ] {
        let media = format!("Content-Type: {media}");
        let headers = [media.as_str(), "Origin: https://evil.example"];
        let answer = server.client().send("POST", "/insert", &headers, body);
        answer.problem(415, "unsupported-media-type");
    }
    // Two Content-Type headers, of which another parser might use the second.
    let two = ["Content-Type: text/plain", "Content-Type: application/json"];
    let answer = server.client().send("POST", "/insert", &two, body);
    assert!(matches!(answer.status, 400 | 415), "{answer:?}");
    server.client().get("/audit/a").problem(404, "unknown-event");
}

/// Stored cross-site scripting: a browser that opens `/audit/a` must not render stored markup.
#[test]
fn stored_markup_is_never_served_as_html() {
    let server = Server::start();
    server.client().put("a", "\"<script>alert(1)</script>\"");
    for target in ["/audit/a", "/audit/a/1", "/latest", "/log", "/audit", "/nothing%3Cscript%3E"] {
        let answer = server.client().get(target);
        let media = answer.header("content-type").expect("a type").to_owned();
        assert!(media.starts_with("application/"), "{target}: {media}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{target}");
    }
    let stream = server.events("");
    assert_eq!(stream.headers.find("x-content-type-options"), Some("nosniff"));
    let page = server.client().get("/").expect(200);
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
}

//! Handshakes: which requests get a socket.

use broker::config::PublicUrl;

use crate::harness::server::{Server, small};
use crate::harness::socket::{Frames, HANDSHAKE, Socket, refused};
use crate::harness::wire::{Connection, request};

#[test]
fn handshake_follows_rfc_6455() {
    let server = Server::start();
    let socket = Frames::open(&server, "/ws");
    let headers = &socket.headers;
    assert_eq!(headers.find("upgrade").map(str::to_lowercase).as_deref(), Some("websocket"));
    assert_eq!(headers.find("connection").map(str::to_lowercase).as_deref(), Some("upgrade"));
    // The example of RFC 6455, section 1.3.
    assert_eq!(headers.find("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(headers.find("transfer-encoding"), None);
    assert_eq!(headers.find("sec-websocket-extensions"), None);
}

#[test]
fn request_without_a_version_13_handshake_is_426() {
    let server = Server::start();
    for target in ["/ws", "/subscribe/a"] {
        for left_out in 0..3 {
            let headers: Vec<_> = (0..4).filter(|n| *n != left_out).map(|n| HANDSHAKE[n]).collect();
            let mut connection = server.connect();
            connection.send(request("GET", target, &headers, b""));
            let answer = connection.answer("GET").expect("an answer");
            answer.problem(426, "upgrade-required");
            assert_eq!(answer.header("upgrade"), Some("websocket"));
            assert_eq!(answer.header("sec-websocket-version"), Some("13"));
        }
        let mut headers = HANDSHAKE;
        headers[2] = "Sec-WebSocket-Version: 8";
        let mut connection = server.connect();
        connection.send(request("GET", target, &headers, b""));
        connection.answer("GET").expect("an answer").problem(426, "upgrade-required");
        for key in
            ["Sec-WebSocket-Key: short", "X: y", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=!"]
        {
            headers = HANDSHAKE;
            headers[3] = key;
            let mut connection = server.connect();
            connection.send(request("GET", target, &headers, b""));
            connection.answer("GET").expect("an answer").problem(400, "malformed-request");
        }
        server.client().get(target).problem(426, "upgrade-required");
        server.client().send("POST", target, &[], b"").problem(405, "method-not-allowed");
    }
}

#[test]
fn invalid_query_is_refused_at_the_handshake() {
    let server = Server::start();
    for query in
        ["?x=1", "?dispatch=message", "?event=a..b", "?replay=some", "?replay=all&replay=all"]
    {
        refused(server.address, &format!("/ws{query}"), &[]).problem(400, "malformed-query");
    }
    for query in ["?event=a", "?format=json", "?format=record&format=record"] {
        refused(server.address, &format!("/subscribe/a{query}"), &[])
            .problem(400, "malformed-query");
    }
}

/// Cross-site WebSocket hijacking: a browser lets any site open sockets, with cookies and without a
/// preflight.
#[test]
fn page_of_another_site_gets_no_socket() {
    let server = Server::start();
    let own = format!("http://{}", server.address);
    for target in ["/ws", "/subscribe/a"] {
        for origin in [
            "https://evil.example",
            "null",
            "https://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "file://",
            "http://192.168.0.1",
            "",
            "http://localhost, https://evil.example",
        ] {
            refused(server.address, target, &[&format!("Origin: {origin}")])
                .problem(403, "origin-refused");
        }
        let two = ["Origin: http://localhost", "Origin: https://evil.example"];
        refused(server.address, target, &two).problem(403, "origin-refused");
        for origin in [own.as_str(), "http://localhost:3000", "https://app.localhost"] {
            drop(Socket::open_with(&server, target, &[("Origin", origin)]));
        }
    }
    assert_eq!(server.client().health()["seq"], 1, "nothing was inserted");
}

#[test]
fn configured_origins_and_the_servers_own_are_allowed() {
    let listed = small().origin("https://app.example.com".parse().expect("an origin"));
    let listed =
        listed.public_url("https://broker.example.com/b".parse::<PublicUrl>().expect("a URL"));
    let server = Server::with(listed);
    let host = "Host: broker.example.com";
    for origin in ["https://other.example.com", "http://app.example.com", "http://localhost"] {
        refused(server.address, "/ws", &[host, &format!("Origin: {origin}")])
            .problem(403, "origin-refused");
    }
    for origin in ["https://app.example.com", "https://broker.example.com"] {
        let origin = format!("Origin: {origin}");
        let headers = [&HANDSHAKE[..], &[host, &origin]].concat();
        let mut connection = server.connect();
        connection.send(request("GET", "/ws", &headers, b""));
        assert_eq!(connection.head().map(|(status, _)| status), Some(101), "{origin}");
    }
    let any = Server::with(small().origin("*".parse().expect("an origin")));
    for origin in ["https://evil.example", "null"] {
        drop(Socket::open_with(&any, "/ws", &[("Origin", origin)]));
    }
}

/// DNS rebinding: a foreign host name that resolves to this machine.
#[test]
fn foreign_host_gets_no_socket() {
    let server = Server::start();
    for host in ["evil.example", "evil.example:8080"] {
        let (host, origin) = (format!("Host: {host}"), format!("Origin: http://{host}"));
        let headers = [&HANDSHAKE[..], &[&host, &origin]].concat();
        let mut connection = Connection::open(server.address);
        connection.send(request("GET", "/ws", &headers, b""));
        connection.answer("GET").expect("an answer").problem(403, "host-refused");
    }
}

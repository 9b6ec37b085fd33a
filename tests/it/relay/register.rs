//! `POST /register` and `DELETE /register/{uuid}`.

use std::num::NonZeroUsize;
use std::time::Duration;

use uuid::Uuid;

use crate::harness::relay::{post, register};
use crate::harness::server::{Server, small};
use crate::harness::wait::wait_until;
use crate::harness::wire::JSON;
use crate::relay::{delete, registration};

#[test]
fn registration_is_answered_with_only_the_url_of_its_socket() {
    let server = Server::start();
    let answer = post(&server, "/register", "{\"user_id\":1}").expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    assert_eq!(body.as_object().expect("an object").keys().collect::<Vec<_>>(), ["url"]);
    let id = body["url"].as_str().and_then(|url| url.strip_prefix("ws://localhost/ws/"));
    let id: Uuid = id.expect("the url of a socket").parse().expect("a UUID");
    assert_eq!(id.get_version_num(), 4);
}

#[test]
fn every_registration_has_its_own_id() {
    let server = Server::start();
    let ids: std::collections::BTreeSet<_> =
        (0..20).map(|_| register(&server, "{\"user_id\":\"ann\"}")).collect();
    assert_eq!(ids.len(), 20);
}

#[test]
fn url_has_the_host_of_the_request() {
    let server = Server::start();
    for (host, url) in [
        ("127.0.0.1:8080", "ws://127.0.0.1:8080/ws/"),
        ("[::1]:99", "ws://[::1]:99/ws/"),
        ("APP.localhost", "ws://app.localhost/ws/"),
    ] {
        let host = format!("Host: {host}");
        let forwarded = ["X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https"];
        let headers = [JSON, &host, forwarded[0], forwarded[1]];
        let answer = server.client().send("POST", "/register", &headers, b"{\"user_id\":1}");
        let answer = answer.expect(200).json();
        assert!(answer["url"].as_str().is_some_and(|found| found.starts_with(url)), "{answer}");
    }
    let other = [JSON, "Host: evil.example"];
    let answer = server.client().send("POST", "/register", &other, b"{\"user_id\":1}");
    answer.problem(403, "host-refused");
}

#[test]
fn public_url_overrides_the_host_and_https_becomes_wss() {
    for (public, base) in [
        ("https://broker.example.com", "wss://broker.example.com/ws/"),
        ("https://example.com:8443/live/", "wss://example.com:8443/live/ws/"),
        ("http://10.0.0.7:8080", "ws://10.0.0.7:8080/ws/"),
    ] {
        let url = public.parse::<broker::config::PublicUrl>().expect("a url");
        let server = Server::with(small().public_url(url));
        let answer = post(&server, "/register", "{\"user_id\":1}").expect(200).json();
        assert!(answer["url"].as_str().is_some_and(|found| found.starts_with(base)), "{answer}");
    }
}

#[test]
fn invalid_user_or_topics_are_refused_with_a_hint() {
    let server = Server::start();
    for (body, said) in [
        ("{}", "user_id"),
        ("[]", "an object with user_id"),
        ("{\"user_id\":null}", "user_id: send a string, or a whole number"),
        ("{\"user_id\":1.5}", "user_id: send a string, or a whole number"),
        ("{\"user_id\":\"\"}", "user_id: the user is empty"),
        ("{\"user_id\":\"a b\"}", "user_id: "),
        ("{\"user_id\":1,\"topics\":\"cats\"}", "topics: "),
        ("{\"user_id\":1,\"topics\":null}", "topics: "),
        ("{\"user_id\":1,\"topics\":[1]}", "topics: "),
        ("{\"user_id\":1,\"topics\":[\"cats\",\"a..b\"]}", "topics: filter 2: "),
        ("{\"user_id\":1,\"topics\":[\"broker:open\"]}", "topics: filter 1: "),
        ("{\"user_id\":1,\"topic\":[]}", "unknown field `topic`"),
    ] {
        let problem = post(&server, "/register", body).problem(422, "invalid-registration");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains(said), "{body}: {detail}");
    }
    post(&server, "/register", "{\"user_id\":1,}").problem(400, "malformed-json");
    let text = server.client().send("POST", "/register", &[], b"{\"user_id\":1}");
    text.problem(415, "unsupported-media-type");
}

#[test]
fn topics_have_the_limit_of_filters() {
    let server = Server::with(small().max_filters(NonZeroUsize::MIN));
    register(&server, "{\"user_id\":1,\"topics\":[\"pets.*\"]}");
    let body = "{\"user_id\":1,\"topics\":[\"a\",\"b\"]}";
    let problem = post(&server, "/register", body).problem(422, "invalid-registration");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("1 filters")));
}

#[test]
fn registration_can_be_deleted_once() {
    let server = Server::start();
    let path = register(&server, "{\"user_id\":1}");
    let gone = delete(&server, &registration(&path)).expect(204);
    assert!(gone.body.is_empty());
    delete(&server, &registration(&path)).problem(404, "unknown-registration");
    for unknown in [Uuid::new_v4().to_string(), "secret".to_owned(), "secret%ff".to_owned()] {
        let answer = delete(&server, &format!("/register/{unknown}"));
        let problem = answer.problem(404, "unknown-registration");
        assert!(!problem.to_string().contains(&unknown), "{problem}");
    }
    let answer = server.client().get(&registration(&path));
    answer.problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), Some("DELETE"));
}

#[test]
fn registrations_are_limited_and_expire_when_unused() {
    let config = small().max_registrations(NonZeroUsize::MIN);
    let server = Server::with(config.clone().registration_expiry(Duration::from_secs(3_600)));
    let path = register(&server, "{\"user_id\":1}");
    let answer = post(&server, "/register", "{\"user_id\":1}");
    let problem = answer.problem(429, "too-many-registrations");
    assert_eq!(problem["limit"], 1);
    assert_eq!(answer.header("retry-after"), Some("1"));
    delete(&server, &registration(&path)).expect(204);
    register(&server, "{\"user_id\":1}");

    let server = Server::with(config.registration_expiry(Duration::from_millis(20)));
    let path = register(&server, "{\"user_id\":1}");
    wait_until("the registration expires", || {
        post(&server, "/register", "{\"user_id\":2}").status == 200
    });
    delete(&server, &registration(&path)).problem(404, "unknown-registration");
}

#[test]
fn pages_may_delete_registrations() {
    let server = Server::start();
    let headers = ["Origin: http://localhost:5173", "Access-Control-Request-Method: DELETE"];
    let path = registration(&register(&server, "{\"user_id\":1}"));
    let answer = server.client().send("OPTIONS", &path, &headers, b"").expect(200);
    let methods = answer.header("access-control-allow-methods").expect("methods");
    assert!(methods.contains("DELETE"), "{methods}");
}

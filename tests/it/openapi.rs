//! `GET /openapi.json`: the description of the HTTP interface.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::server::Server;

/// The files of the page, which are not part of the interface.
const PAGE: [&str; 4] = ["/", "/icon.svg", "/page.css", "/page.js"];

/// The routes that the source registers with `.service(resource("/path", …`.
fn registered() -> BTreeSet<String> {
    let source = include_str!("../../src/http/routes/mod.rs");
    let paths = source.split("resource(").filter(|rest| rest.trim_start().starts_with('"'));
    paths.map(|rest| rest.split('"').nth(1).expect("a path").to_owned()).collect()
}

#[test]
fn document_lists_exactly_the_served_routes() {
    let server = Server::start();
    let answer = server.client().get("/openapi.json").expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.text(), broker::openapi_json());
    let document = answer.json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let paths = document["paths"].as_object().expect("paths");
    let described: BTreeSet<String> = paths.keys().cloned().collect();
    let mut served = registered();
    assert!(PAGE.iter().all(|path| served.remove(*path)), "{served:?}");
    assert_eq!(described, served);
}

#[test]
fn every_described_method_is_served_with_a_described_status() {
    let server = Server::start();
    server.client().put("x", "1");
    let document = server.client().get("/openapi.json").expect(200).json();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let target = path.replace("{event}", "x").replace("{topic}", "x");
            let target = target.replace("{version}", "1");
            let headers = ["Content-Type: application/json", "Accept: text/plain"];
            let body: &[u8] = if method == "post" { b"{}" } else { b"" };
            let method = method.to_uppercase();
            let status = if path == "/events" {
                // A stream would not end.
                drop(server.events(""));
                200
            } else {
                server.client().send(&method, &target, &headers, body).status
            };
            let described = &operation["responses"][status.to_string()];
            assert!(described.is_object(), "{method} {path} answers {status}: {operation}");
        }
    }
}

/// Generated clients name their types after these.
#[test]
fn component_schemas_keep_their_names() {
    let document: Value = serde_json::from_str(&broker::openapi_json()).expect("JSON");
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let names: Vec<_> = schemas.keys().map(String::as_str).collect();
    let expected = [
        "Acknowledgement",
        "AuditName",
        "BridgeHealth",
        "BridgeInHealth",
        "BridgeOutHealth",
        "Health",
        "Insert",
        "Latest",
        "Message",
        "Problem",
        "ProjectionHealth",
        "Receipt",
        "Record",
        "Registered",
        "Registration",
        "UserId",
    ];
    assert_eq!(names, expected);
}

#[test]
fn every_reference_resolves() {
    let document: Value = serde_json::from_str(&broker::openapi_json()).expect("JSON");
    let mut pending = vec![&document];
    let mut references = 0;
    while let Some(value) = pending.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').expect("in this document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
            references += 1;
        }
        match value {
            Value::Array(items) => pending.extend(items),
            Value::Object(members) => pending.extend(members.values()),
            _ => {}
        }
    }
    assert!(references > 0);
}

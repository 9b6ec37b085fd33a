//! `POST /publish`.

use crate::harness::relay::{post, publish};
use crate::harness::server::Server;

#[test]
fn publish_is_an_insert_with_a_receipt_and_a_history() {
    let server = Server::start();
    let mut stream = server.events("?event=cats");
    stream.until_synced();
    let answer = post(&server, "/publish", "{\"topic\":\"cats\",\"message\": {\"n\": 1.50} }");
    let answer = answer.expect(201);
    assert_eq!(answer.header("location"), Some("/audit/cats/1"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let receipt = answer.json();
    assert_eq!((&receipt["event"], &receipt["version"]), (&"cats".into(), &1.into()));
    assert!(receipt.get("data").is_none() && receipt.get("to").is_none(), "{receipt}");
    let block = stream.block();
    assert!(block.data.ends_with(",\"data\":{\"n\":1.50}}"), "{block:?}");
    let record = server.client().get("/audit/cats/1").expect(200);
    assert!(record.text().contains(",\"data\":{\"n\":1.50},\"hash\":"), "{}", record.text());
    // An insert is the next version of the same event.
    assert_eq!(server.client().put("cats", "2")["version"], 2);
    assert_eq!(publish(&server, "{\"topic\":\"cats\",\"message\":null}")["version"], 3);
}

#[test]
fn message_to_a_user_is_private_and_a_numeric_user_equals_its_string() {
    let server = Server::start();
    let to = |user: &str| {
        let body = format!("{{\"topic\":\"cats\",\"message\":\"hi\",\"user_id\":{user}}}");
        let answer = post(&server, "/publish", &body).expect(201);
        (answer.json(), answer.header("location").map(str::to_owned))
    };
    let (first, location) = to("7");
    assert_eq!((&first["version"], &first["to"]), (&1.into(), &"7".into()));
    assert_eq!(location.as_deref(), Some("/audit/cats/1?to=7"));
    let (second, _) = to("\"7\"");
    assert_eq!((&second["version"], &second["to"]), (&2.into(), &"7".into()));
    server.client().get("/audit/cats").problem(404, "unknown-event");
}

#[test]
fn invalid_message_is_refused_like_an_insert() {
    let server = Server::start();
    for (body, said) in [
        ("{\"topic\":\"cats\"}", "missing field `message`"),
        ("{\"message\":1}", "missing field `topic`"),
        ("{\"topic\":7,\"message\":1}", "topic: "),
        ("{\"topic\":\"a b\",\"message\":1}", "topic: "),
        ("{\"topic\":\"cats.*\",\"message\":1}", "topic: "),
        ("{\"topic\":\"broker:open\",\"message\":1}", "topic: "),
        // An unknown user must not turn a private message into a public one.
        ("{\"topic\":\"cats\",\"message\":1,\"user_id\":null}", "user_id: "),
        ("{\"topic\":\"cats\",\"message\":1,\"user\":7}", "unknown field `user`"),
        ("[{\"topic\":\"cats\",\"message\":1}]", "an object with topic and message"),
    ] {
        let problem = post(&server, "/publish", body).problem(422, "invalid-event");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains(said), "{body}: {detail}");
    }
    let twice = "{\"topic\":\"cats\",\"message\":{\"a\":1,\"a\":2}}";
    let problem = post(&server, "/publish", twice).problem(400, "malformed-json");
    assert_eq!((&problem["line"], &problem["column"]), (&1.into(), &34.into()));
    let deep = format!("{{\"topic\":\"cats\",\"message\":{}1{}}}", "[".repeat(64), "]".repeat(64));
    post(&server, "/publish", &deep).expect(201);
    let deeper = deep.replace("[1]", "[[1]]");
    post(&server, "/publish", &deeper).problem(400, "malformed-json");
    let long = format!("{{\"topic\":\"cats\",\"message\":\"{}\"}}", "x".repeat(1 << 20));
    post(&server, "/publish", &long).problem(413, "body-too-large");
    let form = server.client().send("POST", "/publish", &[], b"{}");
    form.problem(415, "unsupported-media-type");
    assert_eq!(server.client().lines("/audit/cats").len(), 1);
}

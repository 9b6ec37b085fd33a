//! `POST /produce/{topic}`: an insert with the body as the data.

use std::time::Duration;

use crate::harness::server::{Server, small};
use crate::harness::wire::{Connection, JSON, request};
use crate::topics::{produce, send};

#[test]
fn json_body_becomes_the_data_of_the_next_version_byte_for_byte() {
    let server = Server::start();
    let client = server.client();
    let mut stream = server.events("?event=cats");
    stream.until_synced();
    let bodies = [
        ("null", "null"),
        ("\"a  b\"", "\"a  b\""),
        ("-0.0", "-0.0"),
        ("12345678901234567890123", "12345678901234567890123"),
        (" { \"b\" : 1e5 ,\r\n\"a\":[ ] } ", "{\"b\":1e5,\"a\":[]}"),
        ("{\"event\":\"dogs\",\"data\":1}", "{\"event\":\"dogs\",\"data\":1}"),
        ("[1,2]", "[1,2]"),
    ];
    for (index, (sent, kept)) in bodies.iter().enumerate() {
        let version = index as u64 + 1;
        let answer = send(client, "cats", sent).expect(201);
        assert_eq!(answer.header("location"), Some(format!("/audit/cats/{version}").as_str()));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let receipt = answer.json();
        let members: Vec<_> = receipt.as_object().expect("an object").keys().collect();
        assert_eq!(members, ["event", "id", "seq", "timestamp", "version"]);
        assert_eq!((&receipt["event"], &receipt["version"]), (&"cats".into(), &version.into()));
        let block = stream.block();
        assert!(block.data.ends_with(&format!(",\"data\":{kept}}}")), "{sent}: {block:?}");
        let record = client.get(&format!("/audit/cats/{version}")).expect(200);
        assert!(record.text().contains(&format!(",\"data\":{kept},\"hash\":")), "{sent}");
    }
    // `/insert` adds a version to the same event.
    assert_eq!(client.put("cats", "1")["version"], bodies.len() as u64 + 1);
}

#[test]
fn invalid_body_is_refused_like_an_insert_and_nothing_is_stored() {
    let server = Server::with(small().max_body_bytes(2_048).max_depth(2));
    let client = server.client();
    let problem = send(client, "cats", "{\n \"a\":1,\n \"a\":2}").problem(400, "malformed-json");
    assert_eq!((&problem["line"], &problem["column"]), (&3.into(), &2.into()));
    send(client, "cats", "").problem(400, "malformed-json");
    send(client, "cats", "1 2").problem(400, "malformed-json");
    send(client, "cats", "[[[1]]]").problem(400, "malformed-json");
    send(client, "cats", "[[1]]").expect(201);
    send(client, "cats", "1".repeat(2_049)).problem(413, "body-too-large");
    for headers in [&[][..], &["Content-Type: text/plain"]] {
        let answer = client.send("POST", "/produce/cats", headers, b"1");
        answer.problem(415, "unsupported-media-type");
    }
    for target in ["cats?to=ann", "cats?topic=dogs", "cats?id=1", "cats?expected_version=x"] {
        send(client, target, "1").problem(400, "malformed-query");
    }
    assert_eq!(client.lines("/log").len(), 2);
}

#[test]
fn slow_body_is_408() {
    let server = Server::with(small().body_timeout(Duration::from_millis(50)));
    let mut connection = Connection::open(server.address);
    let whole = request("POST", "/produce/cats", &[JSON], b"\"meow\"");
    connection.send(&whole[..whole.len() - 1]);
    connection.answer("POST").expect("an answer").problem(408, "body-timeout");
}

#[test]
fn topic_is_a_percent_encoded_name() {
    let server = Server::start();
    let client = server.client();
    for (topic, name) in
        [("Gr%C3%BC%C3%9Fe.du", "Grüße.du"), ("a%20b", ""), ("a.b.c", "a.b.c"), ("%7Ba%7D", "{a}")]
    {
        let answer = send(client, topic, "1");
        if name.is_empty() {
            answer.problem(400, "malformed-name");
            continue;
        }
        let answer = answer.expect(201);
        assert_eq!(answer.json()["event"], name);
        let location = answer.header("location").expect("a location").to_owned();
        assert_eq!(client.get(&location).expect(200).json()["event"], name);
    }
    for topic in ["a%2Fb", "broker:consumer.a.b", "a..b", "open", "*", "a.%3E", "%FF"] {
        send(client, topic, "1").problem(400, "malformed-name");
    }
    send(client, "a/b", "1").problem(404, "not-found");
    send(client, &"x".repeat(256), "1").problem(400, "malformed-name");
    send(client, &"x".repeat(255), "1").expect(201);
}

#[test]
fn id_makes_a_retry_safe_and_a_version_can_be_expected() {
    let server = Server::start();
    let client = server.client();
    let id = "0198c0de-7a31-7cc2-9f0e-1d2f3a4b5c6d";
    let target = format!("cats?id={id}&expected_version=0");
    let first = send(client, &target, "\"meow\"").expect(201);
    assert_eq!(first.json()["id"], id);
    assert_eq!(send(client, &target, " \"meow\"").expect(200).json(), first.json());
    send(client, &target, "\"woof\"").problem(409, "id-taken");
    let problem = send(client, "cats?expected_version=0", "1").problem(409, "version-mismatch");
    assert_eq!(problem["current_version"], 1);
    assert_eq!(send(client, "cats?expected_version=1", "1").expect(201).json()["version"], 2);
}

#[test]
fn other_methods_are_405() {
    let server = Server::start();
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        let answer = server.client().send(method, "/produce/cats", &[], b"");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
}

#[test]
fn location_starts_with_the_path_of_the_public_url() {
    let url: broker::config::PublicUrl = "https://broker.example.com/live".parse().expect("a URL");
    let server = Server::with(small().public_url(url));
    let answer = send(server.client(), "cats", "1").expect(201);
    assert_eq!(answer.header("location"), Some("/live/audit/cats/1"));
}

#[test]
fn concurrent_producers_get_versions_without_gaps() {
    let server = Server::start();
    let client = server.client();
    let mut versions: Vec<u64> = std::thread::scope(|scope| {
        let producers: Vec<_> = (0..4)
            .map(|n| {
                scope.spawn(move || {
                    let versions = (0..10).map(|_| {
                        produce(client, "cats", &n.to_string())["version"].as_u64().expect("one")
                    });
                    versions.collect::<Vec<_>>()
                })
            })
            .collect();
        producers.into_iter().flat_map(|producer| producer.join().expect("no panic")).collect()
    });
    versions.sort_unstable();
    assert_eq!(versions, (1..=40).collect::<Vec<_>>());
}

//! `GET /consume/{topic}` without a consumer: the oldest record after a version.

use crate::harness::server::Server;
use crate::topics::{acknowledge, acknowledgement, consume, positions, post, produce};

#[test]
fn consume_returns_the_oldest_record_after_a_version() {
    let server = Server::start();
    let client = server.client();
    for n in 1..=5 {
        produce(client, "cats", &format!("{{\"n\":{n}.0}}"));
        produce(client, "dogs", "1");
    }
    let mut stream = server.events("?event=cats&replay=all");
    for after in 0..5 {
        let answer = client.get(&format!("/consume/cats?after={after}")).expect(200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.text(), stream.block().data);
        assert_eq!(answer.json()["version"], after + 1);
    }
    assert_eq!(consume(client, "cats"), Some(1));
    // No position is kept, so the same request has the same answer.
    assert_eq!(consume(client, "cats?after=3"), Some(4));
    assert_eq!(consume(client, "cats?after=3&wait=0"), Some(4));
}

#[test]
fn no_record_is_204() {
    let server = Server::start();
    let client = server.client();
    for target in ["nothing", "nothing?after=7", "nothing?consumer=c"] {
        let answer = client.get(&format!("/consume/{target}")).expect(204);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{target}");
    }
    produce(client, "cats", "1");
    assert_eq!(consume(client, "cats?after=1"), None);
    assert_eq!(consume(client, "cats?after=18446744073709551615"), None);
}

/// Records are read from the projection, which may lag behind the log.
#[test]
fn long_history_is_consumed_whole_even_after_a_restart() {
    let server = Server::start();
    let batch: Vec<_> = (1..=300).map(|n| format!("{{\"event\":\"cats\",\"data\":{n}}}")).collect();
    let body = format!("[{}]", batch.join(","));
    server.client().insert(&body).expect(201);
    let read_all = |server: &Server| {
        for after in (0..300).step_by(7) {
            let target = format!("/consume/cats?after={after}");
            let record = server.client().get(&target).expect(200).json();
            assert_eq!(
                (&record["version"], &record["data"]),
                (&(after + 1).into(), &(after + 1).into())
            );
        }
    };
    read_all(&server);
    let server = server.restart();
    server.client().insert(&body).expect(201);
    read_all(&server);
    assert_eq!(consume(server.client(), "cats?after=599"), Some(600));
}

/// A request without a user sees public records and learns nothing of private ones.
#[test]
fn private_records_are_neither_consumed_nor_counted() {
    let server = Server::start();
    let client = server.client();
    let private = "{\"event\":\"cats\",\"data\":\"thesecret\",\"to\":\"ann\"}";
    client.insert(private).expect(201);
    assert_eq!(consume(client, "cats"), None);
    let problem = post(client, "cats", &acknowledgement("c", 1)).problem(422, "ack-too-new");
    assert_eq!(problem["newest_version"], 0);
    produce(client, "cats", "\"public\"");
    client.insert(private).expect(201);
    for target in ["cats", "cats?consumer=c"] {
        let record = client.get(&format!("/consume/{target}")).expect(200).json();
        assert_eq!((&record["version"], &record["data"]), (&1.into(), &"public".into()));
    }
    assert_eq!(acknowledge(client, "cats", 1), None);
}

#[test]
fn invalid_parameter_is_400_and_explained() {
    let server = Server::start();
    let client = server.client();
    for (query, words) in [
        ("after=x", "after=\"x\" is not a version"),
        ("after=-1", "is not a version"),
        ("after=1&after=2", "occurs twice"),
        ("consumer=c&after=1", "leave out after"),
        ("consumer=a.b", "must not contain `.`"),
        ("consumer=a%20b", "consumer: "),
        ("consumer=broker:x", "reserved for the system"),
        ("wait=61", "wait: send at most 60 s, not 61"),
        ("wait=1.5", "not a number of seconds"),
        ("limit=1", "there is no parameter"),
        ("to=ann", "there is no parameter"),
    ] {
        let problem = client.get(&format!("/consume/cats?{query}")).problem(400, "malformed-query");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains(words), "{query}: {detail}");
    }
    let long = format!("/consume/cats?consumer={}", "c".repeat(101));
    let problem = client.get(&long).problem(400, "malformed-query");
    assert!(problem["detail"].as_str().expect("text").contains("at most 100"), "{problem}");
    for topic in ["broker:open", "a%2Fb", "*", "error"] {
        client.get(&format!("/consume/{topic}")).problem(400, "malformed-name");
    }
}

/// HEAD could wait for a record, but not return it.
#[test]
fn other_methods_are_405_and_list_get_and_post() {
    let server = Server::start();
    let client = server.client();
    for method in ["HEAD", "PUT", "DELETE"] {
        let answer = client.send(method, "/consume/cats?consumer=c", &[], b"");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, POST")), "{method}");
    }
}

/// An image on a page of another site can make a browser send any GET.
#[test]
fn get_changes_nothing_and_ack_in_its_query_is_405() {
    let server = Server::start();
    let client = server.client();
    produce(client, "cats", "1");
    for query in ["ack=1", "consumer=c&ack=1", "consumer=c&%61ck=1&wait=60", "consumer=c&ack="] {
        let answer = client.get(&format!("/consume/cats?{query}"));
        let problem = answer.problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some("GET, POST"), "{query}");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains("POST /consume/{topic} with the JSON body"), "{query}: {detail}");
    }
    let log = client.lines("/log");
    for target in ["cats", "cats?after=0", "cats?consumer=c", "cats?consumer=c&wait=60"] {
        assert_eq!(consume(client, target), Some(1));
    }
    assert!(positions(client).is_empty());
    assert_eq!(client.lines("/log"), log);
}

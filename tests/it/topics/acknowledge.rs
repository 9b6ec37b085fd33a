//! `POST /consume/{topic}`: what its body must be, and what it answers.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::harness::server::{Server, small};
use crate::harness::wire::{Answer, Connection, request};

use super::{JSON, acknowledge, acknowledgement, consume, positions, post, produce};

#[test]
fn acknowledging_answers_as_get_does() {
    let server = Server::start();
    let client = server.client();
    (1..=2).for_each(|n| drop(produce(client, "cats", &format!("{{\"n\":{n}.0}}"))));
    let next = post(client, "cats", &acknowledgement("c", 1)).expect(200);
    let read = client.get("/consume/cats?consumer=c").expect(200);
    assert_eq!(next.text(), read.text());
    assert_eq!(headers(&next), headers(&read));
    let next = post(client, "cats", "{ \"wait\": 0, \"ack\": 2, \"consumer\": \"c\" }").expect(204);
    let read = client.get("/consume/cats?consumer=c").expect(204);
    assert_eq!(headers(&next), headers(&read));
    assert_eq!(positions(client).len(), 2);
}

/// The headers of an answer, without the time of it.
fn headers(answer: &Answer) -> BTreeSet<(String, String)> {
    answer.headers.0.iter().filter(|(name, _)| name != "date").cloned().collect()
}

#[test]
fn a_body_that_is_no_acknowledgement_is_422_and_says_what_to_change() {
    let server = Server::start();
    let client = server.client();
    produce(client, "cats", "1");
    let long = format!("{{\"consumer\":\"{}\",\"ack\":1}}", "c".repeat(101));
    for (body, words) in [
        ("{}", "missing field `consumer`"),
        ("{\"ack\":1}", "missing field `consumer`"),
        ("{\"consumer\":\"c\"}", "missing field `ack`"),
        ("{\"consumer\":\"c\",\"wait\":1}", "missing field `ack`"),
        ("{\"consumer\":\"c\",\"ack\":1,\"after\":0}", "unknown field `after`"),
        ("{\"consumer\":7,\"ack\":1}", "consumer: "),
        ("{\"consumer\":null,\"ack\":1}", "consumer: "),
        ("{\"consumer\":\"\",\"ack\":1}", "consumer: "),
        ("{\"consumer\":\"a.b\",\"ack\":1}", "must not contain `.`"),
        ("{\"consumer\":\"broker:x\",\"ack\":1}", "reserved for the system"),
        (&long, "at most 100"),
        ("{\"consumer\":\"c\",\"ack\":\"1\"}", "ack: "),
        ("{\"consumer\":\"c\",\"ack\":-1}", "ack: "),
        ("{\"consumer\":\"c\",\"ack\":1.5}", "ack: "),
        ("{\"consumer\":\"c\",\"ack\":null}", "ack: "),
        ("{\"consumer\":\"c\",\"ack\":1,\"wait\":61}", "wait: send at most 60 s, not 61"),
        ("{\"consumer\":\"c\",\"ack\":1,\"wait\":null}", "wait: "),
        ("{\"consumer\":\"c\",\"ack\":1,\"wait\":1.5}", "wait: "),
        ("[\"c\",1]", "an object with consumer and ack"),
        ("1", "an object with consumer and ack"),
    ] {
        let problem = post(client, "cats", body).problem(422, "invalid-acknowledgement");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains(words), "{body}: {detail}");
    }
    assert!(positions(client).is_empty());
    assert_eq!(consume(client, "cats?consumer=c"), Some(1));
}

#[test]
fn a_body_has_the_limits_of_every_body() {
    let server =
        Server::with(small().max_body_bytes(2_048).body_timeout(Duration::from_millis(50)));
    let client = server.client();
    produce(client, "cats", "1");
    let body = acknowledgement("c", 1);
    for headers in [&[][..], &["Content-Type: text/plain"]] {
        let answer = client.send("POST", "/consume/cats", headers, body.as_bytes());
        answer.problem(415, "unsupported-media-type");
    }
    let problem = post(client, "cats", "{\"consumer\":\"c\",\n\"ack\":1,}");
    let problem = problem.problem(400, "malformed-json");
    assert_eq!((&problem["line"], &problem["column"]), (&2.into(), &8.into()));
    let twice = "{\"consumer\":\"c\",\"ack\":1,\"ack\":2}";
    post(client, "cats", twice).problem(400, "malformed-json");
    post(client, "cats", &format!("{body}{}", " ".repeat(2_048))).problem(413, "body-too-large");
    let mut connection = Connection::open(server.address);
    let whole = request("POST", "/consume/cats", &[JSON], body.as_bytes());
    connection.send(&whole[..whole.len() - 1]);
    connection.answer("POST").expect("an answer").problem(408, "body-timeout");
    assert!(positions(client).is_empty());
}

#[test]
fn a_query_is_refused_and_so_is_a_topic_that_is_no_name() {
    let server = Server::start();
    let client = server.client();
    produce(client, "cats", "1");
    for query in ["ack=1", "consumer=c", "wait=1", "after=1"] {
        let answer = post(client, &format!("cats?{query}"), &acknowledgement("c", 1));
        let problem = answer.problem(400, "malformed-query");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains("there is no parameter"), "{query}: {detail}");
    }
    for topic in ["broker:open", "a%2Fb", "*", "error"] {
        post(client, topic, &acknowledgement("c", 1)).problem(400, "malformed-name");
    }
    assert!(positions(client).is_empty());
    assert_eq!(acknowledge(client, "cats", 1), None);
}

//! `GET /audit`: the list of all events.

use serde_json::{Value, json};

use crate::audit::{next_link, pages, resolved};
use crate::harness::server::Server;

fn names(page: &Value) -> Vec<&str> {
    let page = page.as_array().expect("an array").iter();
    page.map(|name| name["event"].as_str().expect("a name")).collect()
}

#[test]
fn every_event_is_listed_with_version_count_and_times() {
    let server = Server::start();
    let client = server.client();
    assert_eq!(client.get("/audit").expect(200).text(), "[]");
    let first = client.put("b", "1");
    client.put("a.ä", "1");
    let last = client.put("b", "2");
    let list = client.get("/audit").expect(200).json();
    assert_eq!(names(&list), ["a.ä", "b"]);
    let expected = json!({
        "event": "b", "version": 2, "count": 2, "first": first["timestamp"],
        "last": last["timestamp"], "href": "audit/b",
    });
    assert_eq!(list[1], expected);
    let href = list[0]["href"].as_str().expect("a path");
    assert_eq!(client.get(&resolved("/audit", href)).expect(200).json()[0]["event"], "a.ä");
}

#[test]
fn list_is_paged_in_byte_order() {
    let server = Server::start();
    let mut expected: Vec<String> =
        (0..25).map(|n| format!("e{n}")).chain(["Z", "é", "a.b", "a"].map(Into::into)).collect();
    for name in &expected {
        server.client().put(name, "1");
    }
    expected.sort();
    for limit in [1, 2, 7, 28, 29, 30] {
        let pages = pages(server.client(), &format!("/audit?limit={limit}"));
        let listed: Vec<_> = pages.iter().flat_map(names).collect();
        assert_eq!(listed, expected, "limit={limit}");
        assert!(pages.iter().all(|page| !names(page).is_empty()), "no empty page: {limit}");
    }
    let rest = server.client().get("/audit?after=e9").expect(200);
    assert_eq!((names(&rest.json()), next_link(&rest)), (vec!["é"], None));
}

#[test]
fn list_is_filtered_by_event() {
    let server = Server::start();
    for name in ["a", "a.x", "a.y", "b", "b.x"] {
        server.client().put(name, "1");
    }
    let listed = |query: &str| {
        let page = server.client().get(&format!("/audit?{query}")).expect(200).json();
        names(&page).join(" ")
    };
    assert_eq!(listed("event=a.*"), "a.x a.y");
    assert_eq!(listed("event=*.x&event=b"), "a.x b b.x");
    assert_eq!(listed("event=nothing"), "");
    let pages = pages(server.client(), "/audit?event=*.%3E&limit=1");
    assert_eq!(pages.iter().flat_map(names).collect::<Vec<_>>(), ["a.x", "a.y", "b.x"]);
}

#[test]
fn page_has_at_most_a_thousand_events() {
    let server = Server::start();
    for batch in 0..3 {
        let events: Vec<_> = (0..700)
            .map(|n| format!("{{\"event\":\"n{}\",\"data\":0}}", batch * 700 + n))
            .collect();
        server.client().insert(format!("[{}]", events.join(","))).expect(201);
    }
    let pages = pages(server.client(), "/audit?limit=99999");
    let sizes: Vec<_> = pages.iter().map(|page| names(page).len()).collect();
    assert_eq!(sizes, [1_000, 1_000, 100]);
}

#[test]
fn invalid_parameter_is_400() {
    let server = Server::start();
    for query in ["limit=0", "limit=x", "after=a..b", "event=a.>.b", "order=desc", "to=ann"] {
        let answer = server.client().get(&format!("/audit?{}", query.replace('>', "%3E")));
        answer.problem(400, "malformed-query");
    }
}

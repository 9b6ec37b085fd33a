//! The audit routes: the history of events, the log, and the hashes of records.

mod event_list;
mod hashes;
mod history;
mod log;

pub use hashes::leaf_of_line;

use serde_json::Value;

use crate::harness::server::Server;
use crate::harness::wire::{Answer, Client};

/// The versions in an answer, in order.
fn versions(answer: &Answer) -> Vec<u64> {
    let records = answer.json();
    let records = records.as_array().expect("an array").iter();
    records.map(|record| record["version"].as_u64().expect("a version")).collect()
}

/// The target of the `Link` header with rel=next, if there is one.
fn next_link(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    let target = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
    Some(target.unwrap_or_else(|| panic!("{link}")).to_owned())
}

/// All pages, starting at `target`.
fn pages(client: Client, target: &str) -> Vec<Value> {
    let mut target = Some(target.to_owned());
    let mut pages = Vec::new();
    while let Some(at) = target {
        let answer = client.get(&at).expect(200);
        target = next_link(&answer).map(|reference| resolved(&at, &reference));
        pages.push(answer.json());
        assert!(pages.len() <= 1_000, "the pages never end");
    }
    pages
}

/// A server with versions 1 to `count` of `a`, and the time of each.
fn with_history(count: u64) -> (Server, Vec<String>) {
    let server = Server::start();
    let times = (1..=count).map(|n| {
        let receipt = server.client().put("a", &n.to_string());
        receipt["timestamp"].as_str().expect("text").to_owned()
    });
    let times = times.collect();
    (server, times)
}

/// Resolves a relative reference in the answer to a request of `target` (RFC 3986, section 5.2).
fn resolved(target: &str, reference: &str) -> String {
    let path = target.split('?').next().expect("a path");
    if reference.starts_with('/') {
        return reference.to_owned();
    }
    if reference.starts_with('?') {
        return format!("{path}{reference}");
    }
    let (folder, _) = path.rsplit_once('/').expect("a path begins with a slash");
    format!("{folder}/{reference}")
}

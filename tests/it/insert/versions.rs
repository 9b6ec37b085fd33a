//! `expected_version`: optimistic concurrency.

use crate::harness::server::Server;
use crate::harness::wire::{Answer, Client};

fn expecting(client: Client, event: &str, data: &str, version: u64) -> Answer {
    client
        .insert(format!("{{\"event\":\"{event}\",\"data\":{data},\"expected_version\":{version}}}"))
}

#[test]
fn expected_version_0_requires_a_new_event() {
    let server = Server::start();
    let client = server.client();
    assert_eq!(expecting(client, "a", "1", 0).expect(201).json()["version"], 1);
    let problem = expecting(client, "a", "2", 0).problem(409, "version-mismatch");
    assert_eq!((&problem["expected_version"], &problem["current_version"]), (&0.into(), &1.into()));
}

#[test]
fn mismatch_reports_the_current_version_and_stores_nothing() {
    let server = Server::start();
    let client = server.client();
    client.put("a", "1");
    client.put("a", "2");
    let before = client.lines("/log");
    for wrong in [0, 1, 3, u64::MAX] {
        let problem = expecting(client, "a", "3", wrong).problem(409, "version-mismatch");
        assert_eq!(problem["current_version"], 2);
        assert_eq!(problem["expected_version"], wrong);
    }
    let problem = expecting(client, "new", "1", 4).problem(409, "version-mismatch");
    assert_eq!(problem["current_version"], 0);
    assert_eq!(client.lines("/log"), before);
    client.get("/audit/new").problem(404, "unknown-event");
    assert_eq!(expecting(client, "a", "3", 2).expect(201).json()["version"], 3);
}

#[test]
fn exactly_one_of_concurrent_inserts_expecting_a_version_wins() {
    let server = Server::start();
    let client = server.client();
    for version in 0..25 {
        let answers: Vec<_> = std::thread::scope(|scope| {
            let senders: Vec<_> = (0..6)
                .map(|n| scope.spawn(move || expecting(client, "race", &n.to_string(), version)))
                .collect();
            senders.into_iter().map(|sender| sender.join().expect("no panic")).collect()
        });
        let won: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        assert_eq!(won[0].json()["version"], version + 1);
        for lost in answers.iter().filter(|answer| answer.status != 201) {
            let problem = lost.problem(409, "version-mismatch");
            assert_eq!(problem["current_version"], version + 1);
        }
    }
    assert_eq!(client.lines("/audit/race").len(), 25);
}

#[test]
fn expected_version_is_checked_after_a_restart() {
    let server = Server::start();
    server.client().put("a", "1");
    server.client().put("a", "2");
    let server = server.restart();
    expecting(server.client(), "a", "3", 0).problem(409, "version-mismatch");
    assert_eq!(expecting(server.client(), "a", "3", 2).expect(201).json()["version"], 3);
}

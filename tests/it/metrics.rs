//! `GET /metrics`: names and types, which dashboards rely on, and what the counters count.

use std::collections::BTreeMap;

use crate::harness::server::Server;
use crate::harness::wire::Client;

/// Name and type of every metric.
const METRICS: &[(&str, &str)] = &[
    ("broker_bridge_connected", "gauge"),
    ("broker_bridge_lag", "gauge"),
    ("broker_bridge_received_total", "counter"),
    ("broker_bridge_sent_total", "counter"),
    ("broker_consumed_total", "counter"),
    ("broker_consumers", "gauge"),
    ("broker_delivered_bytes_total", "counter"),
    ("broker_delivered_total", "counter"),
    ("broker_groups_total", "counter"),
    ("broker_insert_seconds", "histogram"),
    ("broker_latest", "gauge"),
    ("broker_latest_bytes", "gauge"),
    ("broker_log_seq", "gauge"),
    ("broker_log_unverified_records", "gauge"),
    ("broker_projection_lag", "gauge"),
    ("broker_projection_seq", "gauge"),
    ("broker_queue_bytes", "gauge"),
    ("broker_records_total", "counter"),
    ("broker_refused_total", "counter"),
    ("broker_registrations", "gauge"),
    ("broker_streams", "gauge"),
    ("broker_subscribers", "gauge"),
];

fn samples(client: Client) -> BTreeMap<String, f64> {
    let text = client.get("/metrics").expect(200).text().to_owned();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parse = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    lines.map(parse).collect()
}

#[test]
fn metric_names_and_types_are_pinned() {
    let server = Server::start();
    server.client().put("a", "1");
    server.client().get("/nothing").problem(404, "not-found");
    server.events("").until_synced();
    let answer = server.client().get("/metrics").expect(200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let types = answer.text().lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut types: Vec<_> = types.map(|line| line.split_once(' ').expect("a type")).collect();
    types.sort_unstable();
    assert_eq!(types, METRICS);
    for (name, _) in METRICS {
        assert!(answer.text().contains(&format!("# HELP {name} ")), "{name} has a help text");
    }
    for name in samples(server.client()).keys() {
        assert!(METRICS.iter().any(|(known, _)| name.starts_with(known)), "{name}");
    }
}

#[test]
fn counters_count_inserts_deliveries_and_refusals() {
    let server = Server::start();
    let client = server.client();
    let before = samples(client);
    client.put("a", "1");
    client.insert("[{\"event\":\"a\",\"data\":2},{\"event\":\"b\",\"data\":3}]").expect(201);
    client.insert("{").problem(400, "malformed-json");
    client.get("/nothing").problem(404, "not-found");
    let mut stream = server.events("");
    stream.until_synced();
    let after = samples(client);
    let grown = |name: &str| after.get(name).unwrap_or(&0.0) - before.get(name).unwrap_or(&0.0);
    assert_eq!(grown("broker_records_total"), 3.0);
    assert_eq!(grown("broker_groups_total"), 2.0);
    assert_eq!(grown("broker_insert_seconds_count"), 2.0);
    assert_eq!(grown("broker_delivered_total"), 2.0);
    assert!(grown("broker_delivered_bytes_total") > 100.0);
    assert_eq!(grown("broker_refused_total{code=\"malformed-json\"}"), 1.0);
    assert_eq!(grown("broker_refused_total{code=\"not-found\"}"), 1.0);
    assert_eq!(after["broker_streams"], 1.0);
    assert_eq!(after["broker_subscribers"], 1.0);
    assert_eq!(after["broker_latest"], 2.0);
    assert_eq!(after["broker_log_seq"], 4.0);
}

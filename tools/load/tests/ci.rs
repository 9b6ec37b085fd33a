//! A short run of the load tool with the server of the same build, for every change.

use std::process::Command;

use serde_json::Value;

#[test]
fn every_subscriber_receives_each_value_once_and_ends_on_the_latest() {
    let json = std::env::temp_dir().join(format!("broker-load-{}.json", std::process::id()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker-load"));
    command.args(["fan", "--targets", "bare,broker", "--subscribers", "20"]);
    command.args(["--runs", "1", "--seconds", "1", "--json"]).arg(&json);
    let output = command.output().expect("the tool starts");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    println!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", output.status);

    let report = std::fs::read(&json).expect("the tool wrote its figures");
    std::fs::remove_file(&json).expect("the file exists");
    let report: Value = serde_json::from_slice(&report).expect("the figures are JSON");
    let median = |what: &str| {
        let figures = report["figures"].as_array().expect("the figures are a list");
        let figure = figures.iter().find(|figure| figure["what"] == what);
        figure.and_then(|figure| figure["median"].as_f64()).unwrap_or_else(|| panic!("no {what}"))
    };
    for server in ["bare loop", "broker"] {
        assert!(median(&format!("{server}, deliveries")) >= 20.0, "{server} delivered nothing");
        assert_eq!(median(&format!("{server}, deliveries missing")), 0.0, "{server}");
    }
    assert_eq!(median("broker, subscribers with wrong values"), 0.0);
    assert_eq!(median("broker, subscribers without the latest value"), 0.0);
}

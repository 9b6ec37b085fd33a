//! The load tool against the broker that was built beside it, as every change has to survive it.

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

    let report = std::fs::read(&json).expect("it wrote its figures");
    std::fs::remove_file(&json).expect("it is there");
    let report: Value = serde_json::from_slice(&report).expect("they are JSON");
    let median = |what: &str| {
        let figures = report["figures"].as_array().expect("figures are a list");
        let figure = figures.iter().find(|figure| figure["what"] == what);
        figure.and_then(|figure| figure["median"].as_f64()).unwrap_or_else(|| panic!("no {what}"))
    };
    for who in ["bare loop", "broker"] {
        assert!(median(&format!("{who}, deliveries")) >= 20.0, "{who}: something was delivered");
        assert_eq!(median(&format!("{who}, deliveries missing")), 0.0, "received = expected");
    }
    assert_eq!(median("broker, who got other than published"), 0.0);
    assert_eq!(median("broker, who missed the newest"), 0.0);
}

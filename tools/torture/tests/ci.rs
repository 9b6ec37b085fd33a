//! A short slice of each campaign, for every change. `BROKER_TEST_SEED` repeats one.

use std::process::Command;

/// Runs a slice. When it fails, its output is shown, which starts with the seed. A campaign that
/// cannot run here fails and says what is missing.
#[track_caller]
fn slice(campaign: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker-torture"));
    command.args([campaign, "--ci"]);
    if let Ok(seed) = std::env::var("BROKER_TEST_SEED") {
        command.args(["--seed", &seed]);
    }
    let output = command.output().expect("the tool starts");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    println!("{stdout}{stderr}");
    assert!(output.status.success(), "{campaign}: {}", output.status);
}

#[test]
fn checks_detect_promises_broken_on_purpose() {
    slice("control");
}

#[test]
fn acknowledged_events_survive_kills_under_load_at_opens_rebuilds_and_shutdowns() {
    slice("kill");
}

#[test]
fn acknowledged_events_survive_power_cuts() {
    slice("power");
}

#[test]
fn failing_and_stalled_calls_lead_to_an_error_or_a_stop_and_lose_nothing() {
    slice("faults");
}

#[test]
fn full_disk_refuses_inserts_answers_reads_and_recovers_when_space_is_back() {
    slice("full");
}

#[test]
fn damaged_bytes_are_reported_with_file_and_offset_or_do_no_harm() {
    slice("damage");
}

#[test]
fn clock_jumps_second_processes_and_foreign_copied_or_rolled_back_directories_do_no_harm() {
    slice("directories");
}

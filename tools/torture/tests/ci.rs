//! The slice of each campaign that every change has to survive. `BROKER_TEST_SEED` repeats one.

use std::process::Command;

/// Runs one; whatever it says, the seed first, is shown when it fails. A campaign that cannot run
/// here says what is missing, and is no pass.
#[track_caller]
fn slice(campaign: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker-torture"));
    command.args([campaign, "--ci"]);
    if let Ok(seed) = std::env::var("BROKER_TEST_SEED") {
        command.args(["--seed", &seed]);
    }
    let output = command.output().expect("the tool starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    println!("{said}{complained}");
    assert!(output.status.success(), "{campaign}: {}", output.status);
}

#[test]
fn lies_are_found_by_the_checks_that_the_campaigns_use() {
    slice("control");
}

#[test]
fn nothing_acknowledged_is_lost_by_kills_under_load_at_opens_rebuilds_and_shutdowns() {
    slice("kill");
}

#[test]
fn nothing_acknowledged_is_lost_by_power_cuts() {
    slice("power");
}

#[test]
fn calls_that_fail_or_stall_lead_to_an_error_or_a_stop_and_lose_nothing() {
    slice("faults");
}

#[test]
fn a_full_disk_refuses_inserts_answers_reads_and_is_well_when_there_is_space() {
    slice("full");
}

#[test]
fn damaged_bytes_are_found_and_named_or_do_no_harm() {
    slice("damage");
}

#[test]
fn clocks_second_processes_foreign_copied_and_rolled_back_directories_do_no_harm() {
    slice("directories");
}

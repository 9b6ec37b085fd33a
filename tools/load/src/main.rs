//! Measures live delivery to thousands of subscribers by the real `broker` binary, by a bare loop
//! of writes, and by peers that Debian packages, in the same run with the same settings.
//!
//! The estimate in the comments of each scenario was written before its first run. Everything is on
//! loopback, every loop is bounded, and only processes that were started here are ended.

mod arguments;
mod bare;
mod subscribers;
mod panels;
mod periodic;
mod rounds;
mod run;
mod scenarios;
mod publishers;
mod socket;
mod protocol;
mod target;
mod value;

use std::process::ExitCode;

use broker_bench::Result;
use broker_bench::plot;
use broker_bench::quiet::CpuTicks;
use broker_bench::report::Report;

use arguments::{Arguments, usage};
use scenarios::SCENARIOS;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broker-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    if arguments.what == "bare-server" {
        return bare::serve();
    }
    let wanted = |name| arguments.what == "all" || arguments.what == name;
    let scenarios: Vec<_> = SCENARIOS.iter().filter(|scenario| wanted(scenario.name)).collect();
    if scenarios.is_empty() {
        return Err(usage());
    }
    socket::raise_descriptors()?;
    let mut report = Report::begin();
    let first = CpuTicks::now()?;
    let mut failed = Vec::new();
    for scenario in scenarios {
        let before = CpuTicks::now()?;
        // If a scenario fails, the others are still run.
        if let Err(error) = (scenario.run)(&arguments.settings, &mut report) {
            report.note(&format!("failed, {}", scenario.name), &error.to_string());
            failed.push(format!("{}: {error}", scenario.name));
        }
        note_elsewhere(&mut report, &format!("used_elsewhere, {}", scenario.name), &before)?;
    }
    note_elsewhere(&mut report, "used_elsewhere", &first)?;
    print!("{report}");
    let (met, missed): (Vec<_>, Vec<_>) = report.goals().partition(|(is_met, _)| *is_met);
    println!("goals: {} met, {} missed", met.len(), missed.len());
    missed.iter().for_each(|(_, figure)| println!("missed: {figure}"));
    if let Some(path) = &arguments.json {
        std::fs::write(path, report.json())?;
    }
    if let Some(path) = &arguments.svg {
        std::fs::write(path, plot::svg(panels::TITLE, &panels::PANELS, &report))?;
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

/// Notes the CPU time that other processes used. The servers have ended, so theirs counts as this
/// program's.
fn note_elsewhere(report: &mut Report, name: &str, before: &CpuTicks) -> Result<()> {
    let elsewhere = (CpuTicks::now()?.others_since(before) * 100.0).round();
    report.note(name, &format!("{elsewhere} %"));
    Ok(())
}

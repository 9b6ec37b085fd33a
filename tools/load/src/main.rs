//! Measures live delivery to thousands of subscribers by the real `broker` binary, by a bare loop
//! of writes, and by peers that Debian packages, in the same run with the same settings.
//!
//! The estimate in the comments of each scenario was written before its first run. Everything is on
//! loopback, every loop is bounded, and only processes that were started here are ended.

mod arguments;
mod bare;
mod outcome;
mod panels;
mod periodic;
mod plan;
mod protocol;
mod publishers;
mod rounds;
mod run;
mod scenarios;
mod settings;
mod socket;
mod subscribers;
mod target;
mod value;

use std::process::ExitCode;

use broker_tools::Result;
use broker_tools::cli::exit_code;
use broker_tools::process::raise_descriptor_limit;
use broker_tools::quiet::CpuTicks;
use broker_tools::report::Report;

use crate::arguments::{Arguments, usage};
use crate::scenarios::SCENARIOS;

fn main() -> ExitCode {
    exit_code("broker-load", run())
}

fn run() -> Result {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    if arguments.what == "bare-server" {
        return bare::serve();
    }
    let wanted = |name| arguments.what == "all" || arguments.what == name;
    let scenarios: Vec<_> = SCENARIOS.iter().filter(|scenario| wanted(scenario.name)).collect();
    if scenarios.is_empty() {
        return Err(usage());
    }
    raise_descriptor_limit()?;
    let (mut report, before) = (Report::begin(), CpuTicks::now()?);
    let mut failed = Vec::new();
    for scenario in scenarios {
        let before = CpuTicks::now()?;
        // If a scenario fails, the others are still run.
        if let Err(error) = (scenario.run)(&arguments.settings, &mut report) {
            report.note(&format!("failed, {}", scenario.name), &error.to_string());
            failed.push(format!("{}: {error}", scenario.name));
        }
        before.note_others(&mut report, &format!("used_elsewhere, {}", scenario.name))?;
    }
    before.note_others(&mut report, "used_elsewhere")?;
    arguments.output.write(&report, &panels::PLOT)?;
    let (met, missed): (Vec<_>, Vec<_>) = report.goals().partition(|(is_met, _)| *is_met);
    println!("goals: {} met, {} missed", met.len(), missed.len());
    missed.iter().for_each(|(_, figure)| println!("missed: {figure}"));
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

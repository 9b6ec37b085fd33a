//! Injects faults into the real binary and checks that no acknowledged event is lost or altered.
//!
//! `broker-torture all|CAMPAIGN… [--ci] [--duration SECONDS] [--count N] [--seed N] [--json FILE]
//! [--simulation FILE]` runs campaigns; `broker-torture CAMPAIGN --seed N --case N` repeats one
//! case.
//!
//! A campaign (`campaigns/`) injects one kind of fault. It consists of cases, each with a data
//! directory of its own; `campaign` distributes them over worker threads and keeps the directories
//! of failed ones. `load` generates traffic and records it in the `ledger`; `log`, `check` and
//! `subscriber` compare the server with the ledger. README.md lists the rules that are checked.

mod campaign;
mod campaigns;
mod check;
mod disk;
mod files;
mod http;
mod ledger;
mod load;
mod log;
mod report;
mod segments;
mod server;
mod server_texts;
mod shim;
mod subscriber;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use broker_tools::{Result, ensure};

use crate::campaign::{Campaign, Plan};
use crate::report::Report;

const USAGE: &str = "usage: broker-torture all|CAMPAIGN… [--ci] [--duration SECONDS] [--count N] \
                     [--seed N] [--case N] [--json FILE] [--simulation FILE]";

/// Set in the process that runs in its own mount namespace.
const INSIDE: &str = "BROKER_TORTURE_INSIDE";

/// The parsed command line.
struct Arguments {
    campaigns: Vec<&'static Campaign>,
    plan: Plan,
    json: Option<PathBuf>,
    /// The simulation's results, to be included in the report.
    simulation: Option<PathBuf>,
}

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(report) if report.passed() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("broker-torture: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Report> {
    enter_namespace()?;
    let mut report = campaign::run_all(&arguments.campaigns, &arguments.plan)?;
    if let Some(path) = &arguments.simulation {
        report.add(report::CampaignOutcome::of_simulation(path));
    }
    print!("{report}");
    if let Some(path) = &arguments.json {
        std::fs::write(path, report.json())?;
    }
    Ok(report)
}

/// Restarts this program in a mount namespace of its own, so that its mounts and their loop devices
/// disappear with its last process, however it ends. Without the privilege for that, campaigns that
/// need mounts report that they did not run.
fn enter_namespace() -> Result {
    if !rustix::process::geteuid().is_root() || std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let private = ["--mount", "--propagation", "private"];
    let may = Command::new("unshare").args(private).arg("true").output();
    if may.is_ok_and(|output| output.status.success()) {
        let mut again = Command::new("unshare");
        again.args(private).arg(std::env::current_exe()?).args(std::env::args_os().skip(1));
        return Err(again.env(INSIDE, "1").exec().into());
    }
    Ok(())
}

impl Arguments {
    fn parse(words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut campaigns, mut json, mut simulation) = (Vec::new(), None, None);
        let mut plan = Plan::default();
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            let mut number = || -> Result<u64> { Ok(words.next().ok_or(USAGE)?.parse()?) };
            match word.as_str() {
                "--ci" => plan.ci = true,
                "--count" => plan.count = Some(number()? as usize),
                "--duration" => plan.duration = Duration::from_secs(number()?),
                "--case" => plan.case = Some(number()?),
                "--seed" => plan.seed = number()?,
                "--simulation" => {
                    simulation = Some(PathBuf::from(words.next().ok_or(USAGE)?));
                }
                "--json" => json = Some(PathBuf::from(words.next().ok_or(USAGE)?)),
                "all" => campaigns.extend(campaigns::ALL),
                name => {
                    let found = campaigns::ALL.iter().find(|campaign| campaign.name == name);
                    campaigns.push(found.ok_or_else(|| format!("no campaign {name}; {USAGE}"))?);
                }
            }
        }
        ensure!(!campaigns.is_empty(), "{USAGE}");
        Ok(Self { campaigns, plan, json, simulation })
    }
}

//! Measures the real `broker` binary against floors measured in the same run.
//!
//! `broker-bench all|insert|burst|replay|memory [--json FILE] [--svg FILE]`. The estimate in each
//! bench's comment was written before its first run. Everything is on loopback, every loop is
//! bounded, random bytes have fixed seeds, and only processes that it started are ended.

mod bare;
mod burst;
mod client;
mod insert;
mod load;
mod memory;
mod plot;
mod replay;
mod report;
mod server;
mod workload;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use report::Report;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: broker-bench all|insert|burst|replay|memory [--json FILE] [--svg FILE]";

/// What to run and where to write it, besides the table on standard output.
#[derive(Default)]
struct Arguments {
    what: String,
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
    /// What `bare-server` appends to.
    file: Option<PathBuf>,
}

fn main() -> ExitCode {
    let run = Arguments::parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments));
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broker-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let all = arguments.what == "all";
    let mut report = Report::new();
    match arguments.what.as_str() {
        "bare-server" => return Ok(bare::serve(arguments.file.as_deref())?),
        "all" | "insert" | "burst" | "replay" | "memory" => {}
        _ => return Err(USAGE.into()),
    }
    if all || arguments.what == "insert" {
        insert::run(&mut report)?;
    }
    if all || arguments.what == "burst" {
        burst::run(&mut report)?;
    }
    if all || arguments.what == "replay" {
        replay::run(&mut report)?;
    }
    if all || arguments.what == "memory" {
        memory::run(&mut report)?;
    }
    print!("{report}");
    if let Some(path) = &arguments.json {
        std::fs::write(path, report.json())?;
    }
    if let Some(path) = &arguments.svg {
        std::fs::write(path, plot::svg(&report))?;
    }
    Ok(())
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = Self { what: words.next().ok_or(USAGE)?, ..Self::default() };
        while let Some(word) = words.next() {
            let file = words.next().map(PathBuf::from);
            match word.as_str() {
                "--json" => arguments.json = Some(file.ok_or(USAGE)?),
                "--file" => arguments.file = Some(file.ok_or(USAGE)?),
                "--svg" => arguments.svg = Some(file.ok_or(USAGE)?),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(arguments)
    }
}

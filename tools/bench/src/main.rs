//! Measures the real `broker` binary against floors and peers measured in the same run.
//!
//! `all` compares Broker with floors: `insert`, `burst`, `replay` and `memory`. `compare` takes
//! long: `peers` compares Broker with Redis, NATS JetStream and PocketBase, and `history` compares
//! it with sled alone when there is much history. `sink` measures the library's sink on a slow
//! disk.
//!
//! The estimate in the comments of each bench was written before its first run. Everything is on
//! loopback, every loop is bounded, random bytes have fixed seeds, and only processes that were
//! started here are ended.

mod arguments;
mod bare;
mod burst;
mod connection;
mod disk_space;
mod group_commit;
mod history;
mod insert;
mod load;
mod memory;
mod panels;
mod peers;
mod protocol;
mod replay;
mod servers;
mod sink;

use std::process::ExitCode;

use broker_tools::Result;
use broker_tools::cli::exit_code;
use broker_tools::quiet::CpuTicks;
use broker_tools::report::Report;

use crate::arguments::{Arguments, USAGE};
use crate::bare::Storage;

/// The program's allocator, also for sled alone and the bare handlers, which run in this program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let run = Arguments::parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments));
    exit_code("broker-bench", run)
}

fn run(arguments: &Arguments) -> Result {
    let (mut report, before) = (Report::begin(), CpuTicks::now()?);
    match arguments.what.as_str() {
        "all" => {
            insert::run(&mut report)?;
            burst::run(&mut report)?;
            replay::run(&mut report)?;
            memory::run(&mut report)?;
        }
        "burst" => burst::run(&mut report)?,
        "compare" => {
            peers::run(&arguments.programs, arguments.burst, &mut report)?;
            history::run(&arguments.history, &mut report)?;
        }
        "history" => history::run(&arguments.history, &mut report)?,
        "insert" => insert::run(&mut report)?,
        "memory" => memory::run(&mut report)?,
        "peers" => peers::run(&arguments.programs, arguments.burst, &mut report)?,
        "replay" => replay::run(&mut report)?,
        "sink" => sink::run(arguments.sent, &mut report)?,
        helper => return run_helper(helper, arguments),
    }
    before.note_others(&mut report, "used_elsewhere")?;
    arguments.output.write(&report, &panels::PLOT)
}

/// Runs a process that the benches start.
fn run_helper(helper: &str, arguments: &Arguments) -> Result {
    let records = arguments.history.records;
    let index = || arguments.index.as_ref().ok_or(USAGE);
    match helper {
        "bare-server" => bare::serve(storage(arguments)?)?,
        "sink-await" => sink::fill(index()?, records, true)?,
        "sink-fill" => sink::fill(index()?, records, false)?,
        "sled-fill" => {
            let Arguments { events, block, .. } = arguments;
            println!("{}", history::sled_alone::fill(index()?, *block, records, *events)?);
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

fn storage(arguments: &Arguments) -> Result<Storage> {
    match (&arguments.file, &arguments.index) {
        (Some(file), None) => Storage::file(file),
        (None, Some(index)) => Storage::sled(index, arguments.block),
        (None, None) => Ok(Storage::Nothing),
        (Some(file), Some(index)) => Storage::file_and_sled(file, index, arguments.block),
    }
}

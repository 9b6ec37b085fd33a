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
mod group_commit;
mod history;
mod insert;
mod load;
mod memory;
mod panels;
mod peers;
mod replay;
mod sink;
mod protocol;

use std::process::ExitCode;

use arguments::{Arguments, USAGE};
use bare::Storage;
use broker_bench::{
    Result, http, plot, process, quiet::CpuTicks, report, report::Report, synced_file, workload,
};

/// The program's allocator, also for sled alone and the bare handlers, which run in this program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    let mut report = Report::begin();
    let before = CpuTicks::now()?;
    match arguments.what.as_str() {
        "all" => {
            insert::run(&mut report)?;
            burst::run(&mut report)?;
            replay::run(&mut report)?;
            memory::run(&mut report)?;
        }
        "bare-server" => return Ok(bare::serve(storage(arguments)?)?),
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
        "sink-await" | "sink-fill" => {
            let index = arguments.index.as_ref().ok_or(USAGE)?;
            let records = arguments.history.records;
            return sink::fill(index, records, arguments.what == "sink-await");
        }
        "sled-fill" => {
            let index = arguments.index.as_ref().ok_or(USAGE)?;
            let records = arguments.history.records;
            let Arguments { events, block, .. } = arguments;
            println!("{}", history::sled_alone::fill(index, *block, records, *events)?);
            return Ok(());
        }
        _ => return Err(USAGE.into()),
    }
    // All servers have ended, so their CPU time counts as this program's.
    let elsewhere = (CpuTicks::now()?.others_since(&before) * 100.0).round();
    report.note("used_elsewhere", &format!("{elsewhere} %"));
    print!("{report}");
    if let Some(path) = &arguments.json {
        std::fs::write(path, report.json())?;
    }
    if let Some(path) = &arguments.svg {
        std::fs::write(path, plot::svg(panels::TITLE, &panels::PANELS, &report))?;
    }
    Ok(())
}

fn storage(arguments: &Arguments) -> Result<Storage> {
    match (&arguments.file, &arguments.index) {
        (Some(file), None) => Storage::file(file),
        (None, Some(index)) => Storage::index(index, arguments.block),
        (None, None) => Ok(Storage::Nothing),
        (Some(file), Some(index)) => Storage::stored(file, index, arguments.block),
    }
}

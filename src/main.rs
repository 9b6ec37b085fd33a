//! The `broker` program.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::{self, ExitCode};
use std::thread;

use broker::config::{Flags, LogFormat};
use broker::{Config, Invocation, Operation, RunError, operate, serve, shutdown_signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

/// What a worker allocates another thread frees, for each insert, and glibc's allocator takes a lock
/// for that: inserts and the history are faster with this one. It is built so that what is large
/// begins with a page, too: at a start sled zeroes what is free of its file, and from a buffer that
/// lies across pages the kernel reads each page before it writes it.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// As that of a command line which cannot be understood.
const EXIT_UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    match Invocation::from_args(std::env::args_os()).unwrap_or_else(|error| error.exit()) {
        Invocation::Operate(operation, flags) => run_operation(&operation, flags),
        Invocation::Serve(flags) => actix_rt::System::new().block_on(run_server(flags)),
    }
}

fn run_operation(operation: &Operation, flags: Flags) -> ExitCode {
    let config = match Config::for_operation(flags) {
        Ok(config) => config.log_format(LogFormat::Text),
        Err(errors) => {
            eprintln!("broker: {errors}");
            return ExitCode::from(EXIT_UNUSABLE);
        }
    };
    // What a command has to say it says itself.
    let filter = if config.log == Config::default().log { "warn" } else { &config.log };
    start_log(&config.clone().log(filter));
    operate(operation, &config)
}

async fn run_server(flags: Flags) -> ExitCode {
    let loaded = match Config::from_flags(flags) {
        Ok(loaded) => loaded,
        Err(errors) => return fail(&errors.into()),
    };
    start_log(&loaded.config);
    for unknown in &loaded.unknown {
        warn!("{unknown}");
    }
    for (name, value) in loaded.config.effective() {
        info!(name, value, "setting");
    }
    let announce = |address| {
        // Scripts wait for this line; a closed standard output is not worth ending for.
        let _ = writeln!(io::stdout(), "listening on http://{address}");
    };
    match serve(loaded.config, shutdown_signal(), announce).await {
        // At once, both ways: a thread that a disk holds for ever would be waited for.
        Ok(()) => exit(0),
        Err(error) => {
            fail(&error);
            exit(1)
        }
    }
}

/// On a thread of its own, for an exit destroys what is local to the thread that calls it. Here that
/// is actix's system, and a worker that still ends would be the last to let go of it, which wakes
/// it, and tokio cannot from a thread whose own locals are gone: it panics, and that aborts.
fn exit(code: i32) -> ! {
    if let Ok(exiting) = thread::Builder::new().spawn(move || process::exit(code)) {
        // It never returns.
        let _ = exiting.join();
    }
    process::exit(code)
}

fn fail(error: &RunError) -> ExitCode {
    eprintln!("broker: {error}");
    ExitCode::FAILURE
}

/// To standard error: text for a terminal, JSON for whatever collects logs.
fn start_log(config: &Config) {
    // What lapin meets the bridge tells, with what becomes of it; a filter may still ask for it.
    let filter = EnvFilter::try_new(format!("lapin=off,{}", config.log))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let is_text = match config.log_format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if is_text {
        log.with_ansi(io::stderr().is_terminal()).init();
    } else {
        log.json().init();
    }
}

#[cfg(test)]
mod tests {
    /// Otherwise a start reads all that is free of sled's file, page by page: ten seconds with ten
    /// million records that are not in memory, instead of one and a half.
    #[cfg(feature = "jemalloc")]
    #[test]
    fn large_allocations_are_page_aligned() {
        for len in [1 << 20, 8 << 20] {
            let zeros = vec![0_u8; len];
            assert!(zeros.as_ptr().addr().is_multiple_of(4096), "{len} bytes");
        }
    }
}

//! The `broker` program.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::{self, ExitCode};
use std::thread;

use broker::config::{Flags, LogFormat};
use broker::{Config, Invocation, Operation, RunError, operate, serve, shutdown_signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

/// Memory allocated by one thread is often freed by another, on every insert, and glibc takes a
/// lock for that: inserts and history reads are faster with jemalloc. It is also built so that
/// large allocations are page-aligned: at a start sled zeroes the free space of its file, and from
/// an unaligned buffer the kernel would read each page before writing it.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code for an unusable command line.
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
    // Commands print their own messages.
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
        // Scripts wait for this line; a closed standard output is not a reason to stop.
        let _ = writeln!(io::stdout(), "listening on http://{address}");
    };
    match serve(loaded.config, shutdown_signal(), announce).await {
        // Exit without joining threads: one may be blocked on a disk forever.
        Ok(()) => exit(0),
        Err(error) => {
            fail(&error);
            exit(1)
        }
    }
}

/// Exits from a dedicated thread, because an exit runs the thread-local destructors of its thread.
/// In the main thread that drops the actix system, while a worker that is still ending may hold the
/// last reference. Dropping that wakes the system, and tokio panics in a thread whose thread-locals
/// are gone, which aborts the process.
fn exit(code: i32) -> ! {
    if let Ok(exiting) = thread::Builder::new().spawn(move || process::exit(code)) {
        // `process::exit` never returns.
        let _ = exiting.join();
    }
    process::exit(code)
}

fn fail(error: &RunError) -> ExitCode {
    eprintln!("broker: {error}");
    ExitCode::FAILURE
}

/// Logs to standard error: text on a terminal, JSON for log collectors.
fn start_log(config: &Config) {
    // The bridge logs connection errors with their consequences, so those of lapin are off; a
    // filter can still enable them.
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
    /// Otherwise a start reads all free space of the sled file, page by page: with ten million
    /// records that are not cached it takes ten seconds instead of one and a half.
    #[cfg(feature = "jemalloc")]
    #[test]
    fn large_allocations_are_page_aligned() {
        for len in [1 << 20, 8 << 20] {
            let zeros = vec![0_u8; len];
            assert!(zeros.as_ptr().addr().is_multiple_of(4096), "{len} bytes");
        }
    }
}

//! kill -9 at any moment: under load, while the log opens, while the projection is rebuilt, and
//! during a shutdown. Each directory goes through many kills.

use std::fs;
use std::thread;
use std::time::Duration;

use broker_tools::Result;
use rand::Rng as _;
use rustix::process::Signal;

use crate::campaign::{Campaign, Case, Storage};
use crate::ledger::Ledger;
use crate::load;
use crate::server::ServerConfig;

/// The campaign.
pub const CAMPAIGN: Campaign = Campaign {
    name: "kill",
    unit: "kills",
    ci: 100,
    hour: 5_000,
    share: 24,
    mounts: false,
    storage: Storage::Both,
    run,
};

const KILLS: usize = 40;
/// A kill comes within this time after a start, or after SIGTERM.
const MAKE_US: u64 = 30_000;
const OPEN_US: u64 = 60_000;

fn run(case: &mut Case<'_>) -> Result {
    let dir = case.dir.clone();
    let sizes = ["64KiB", "256KiB", "1MiB"];
    let segment_bytes = sizes[case.random.random_range(0..sizes.len())];
    let config =
        ServerConfig { segment_bytes, ..ServerConfig::new(&dir) }.any_open(&mut case.random);
    let mut ledger = Ledger::default();
    for _ in 0..case.random.random_range(0..4) {
        // Creating a directory takes a few milliseconds.
        let server = config.spawn()?;
        thread::park_timeout(Duration::from_micros(case.random.random_range(0..MAKE_US)));
        server.kill()?;
        case.survived("while the directory was created");
    }
    for _ in 0..KILLS {
        if !case.has_more() {
            break;
        }
        let what = kill_once(case, &config, &mut ledger)?;
        case.survived(what);
    }
    // A regular stop must keep what the kills left.
    let server = config.serve()?;
    ledger.check(server.client(), &mut case.random)?;
    server.stop()?;
    let server = config.serve()?;
    ledger.check(server.client(), &mut case.random)?;
    case.count_checks(&mut ledger);
    server.stop()
}

/// Kills a server once. Returns in which phase.
fn kill_once(
    case: &mut Case<'_>,
    config: &ServerConfig<'_>,
    ledger: &mut Ledger,
) -> Result<&'static str> {
    let pause = Duration::from_micros(case.random.random_range(0..OPEN_US));
    match case.random.random_range(0..10) {
        0 => {
            let server = config.spawn()?;
            thread::park_timeout(pause);
            server.kill()?;
            return Ok("while it opened the log");
        }
        1 => {
            // The projection is rebuilt from the log, maybe for the second time.
            let _ = fs::remove_dir_all(config.data().join("projection"));
            let server = config.spawn()?;
            thread::park_timeout(pause * 2);
            server.kill()?;
            return Ok("while it rebuilt the projection");
        }
        _ => {}
    }
    let server = config.serve()?;
    let client = server.client();
    ledger.check(client, &mut case.random)?;
    if case.random.random_bool(0.1) {
        load::bulk(ledger, client, &mut case.random)?;
    }
    let enough = case.random.random_range(1..80);
    let shuts_down = case.random.random_bool(0.2);
    load::run(ledger, client, &mut case.random, |progress| {
        progress.until(enough, Duration::from_secs(10));
        if shuts_down {
            server.signal(Signal::TERM)?;
        }
        thread::park_timeout(if shuts_down { pause / 4 } else { pause / 20 });
        server.kill()
    })?;
    Ok(if shuts_down { "while it shut down" } else { "under load" })
}

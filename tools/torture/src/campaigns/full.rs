//! A full disk: inserts are refused with 507 `disk-full`, reads go on, the projection may lag, and
//! everything recovers without a restart when there is space again.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use broker_tools::{Result, ensure};
use rand::Rng as _;

use crate::campaign::{Campaign, Case, Storage};
use crate::check;
use crate::disk::Disk;
use crate::http::Client;
use crate::ledger::{Ledger, Outcome, Request};
use crate::load;
use crate::server::{START_MAX, Server, ServerConfig};
use crate::server_texts;

/// The campaign.
pub const CAMPAIGN: Campaign = Campaign {
    name: "full",
    unit: "full disks",
    ci: 4,
    hour: 200,
    share: 8,
    mounts: true,
    storage: Storage::Disk,
    run,
};

const TIMES: usize = 4;
const TMPFS_BYTES: u64 = 48 << 20;
/// At most this much space is left: none, or enough for a few groups.
const FREE_BYTES_MAX: u64 = 3 << 20;
/// Inserts fill a disk this small within this time.
const FULL_MAX: Duration = Duration::from_secs(60);
/// Inserts and the projection recover within this time.
const RECOVERY_MAX: Duration = Duration::from_secs(30);

fn run(case: &mut Case<'_>) -> Result {
    let is_ext4 = case.index % 2 == 1;
    let disk = if is_ext4 { Disk::ext4(&case.dir)? } else { Disk::tmpfs(&case.dir, TMPFS_BYTES)? };
    let (dir, data) = (case.dir.clone(), disk.path().join("data"));
    let segment_bytes = ["64KiB", "256KiB"][case.random.random_range(0..2)];
    let config = ServerConfig { data: Some(&data), segment_bytes, ..ServerConfig::new(&dir) };
    let config = config.any_snapshots(&mut case.random);
    let ballast = disk.path().join("ballast");
    let mut ledger = Ledger::default();
    let mut server = config.serve()?;
    for _ in 0..TIMES {
        if !case.has_more() {
            break;
        }
        load::until_acknowledged(&mut ledger, server.client(), &mut case.random, 50)?;
        fill(&ballast, case.random.random_range(0..FREE_BYTES_MAX))?;
        fill_and_check(case, &server, &mut ledger)?;
        let restarts = case.random.random_bool(0.4);
        if restarts {
            server = restart_full(case, server, &config, &mut ledger, &ballast)?;
        }
        fs::remove_file(&ballast)?;
        check_recovery(case, &server, &mut ledger)?;
        let file_system = if is_ext4 { "ext4" } else { "tmpfs" };
        let how = if restarts { ", restarted while full" } else { "" };
        case.survived(format!("on {file_system}{how}"));
    }
    server.stop()?;
    let server = config.serve()?;
    ledger.check(server.client(), &mut case.random)?;
    case.count_checks(&mut ledger);
    server.stop()
}

/// Takes all space except `left` bytes.
fn fill(ballast: &PathBuf, left: u64) -> Result {
    let mut file = File::create(ballast)?;
    let piece = vec![0x5a; 64 << 10];
    let mut len = 0;
    loop {
        match file.write(&piece) {
            Ok(written) => len += written as u64,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
            Err(error) => return Err(error.into()),
        }
    }
    // ext4 delays allocation, so only a sync takes the space.
    let _ = file.sync_all();
    Ok(file.set_len(len.saturating_sub(left))?)
}

/// Inserts until the disk is full, and reads.
fn fill_and_check(case: &mut Case<'_>, server: &Server, ledger: &mut Ledger) -> Result {
    let client = server.client();
    let refused = load::run(ledger, client, &mut case.random, |progress| {
        let deadline = Instant::now() + FULL_MAX;
        while progress.refused("disk-full") < 5
            && progress.is_running()
            && Instant::now() < deadline
        {
            thread::park_timeout(Duration::from_millis(5));
        }
        Ok(progress.refused("disk-full"))
    })?;
    ensure!(
        refused >= 5,
        "the disk is full, but inserts are not refused with 507 disk-full: {}",
        server.log()
    );
    for route in ["/livez", "/readyz", "/health"] {
        let answer = client.get(route)?;
        ensure!(answer.status == 200, "{route} on a full disk: {answer:?}");
    }
    // Reads of the log and of the latest values need no space.
    for route in ["/log", "/latest"] {
        let answer = client.get(route)?;
        ensure!(answer.status == 200, "{route} on a full disk: {}", answer.status);
    }
    ledger.check_under_fault(client)?;
    let log = ledger.read_log(client)?;
    ledger.subscribers[0].catch_up(client, &log)
}

/// A start on a full disk serves what is there, or says that space is missing.
fn restart_full(
    case: &mut Case<'_>,
    server: Server,
    config: &ServerConfig<'_>,
    ledger: &mut Ledger,
    ballast: &PathBuf,
) -> Result<Server> {
    if case.random.random_bool(0.5) {
        server.kill()?;
    } else {
        server.stop()?;
    }
    let mut server = config.spawn()?;
    match server.wait_until_serving(START_MAX)? {
        None => {
            ledger.check_under_fault(server.client())?;
            case.note("starts on a full disk that served");
            Ok(server)
        }
        Some(exit) => {
            let sentence = exit.explanation()?;
            ensure!(
                sentence.contains(server_texts::NO_SPACE),
                "the error does not say that space is missing: {sentence}"
            );
            case.note("starts on a full disk that were refused for it");
            File::create(ballast)?;
            config.serve()
        }
    }
}

/// Checks that everything recovers when there is space again.
fn check_recovery(case: &mut Case<'_>, server: &Server, ledger: &mut Ledger) -> Result {
    let client = server.client();
    let started = Instant::now();
    loop {
        let mut request = Request::plain(&mut case.random, "e.0");
        let answer = client.insert(&request.body())?;
        request.record_answer(&answer)?;
        let stored = matches!(request.outcome, Outcome::Acknowledged(_));
        ledger.requests.push(request);
        if stored {
            break;
        }
        ensure!(
            started.elapsed() < RECOVERY_MAX,
            "there is space again, but inserts are still refused: {answer:?}"
        );
        thread::park_timeout(Duration::from_millis(20));
    }
    wait_until_caught_up(client)?;
    ledger.check(client, &mut case.random)
}

fn wait_until_caught_up(client: Client) -> Result {
    check::ready(client).map_err(|error| format!("there is space again, but {error}").into())
}

//! A full disk: inserts are refused with 507 `disk-full`, reads go on, the history is behind at
//! most, and everything is well again once there is space, without a restart.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng as _;

use crate::campaign::{Campaign, Ground, Life};
use crate::check;
use crate::disk::Disk;
use crate::http::Client;
use crate::ledger::{Ledger, Outcome, Request};
use crate::load;
use crate::server::{Place, Server};
use crate::{Result, ensure};

/// The campaign.
pub const CAMPAIGN: Campaign = Campaign {
    name: "full",
    unit: "full disks",
    ci: 4,
    hour: 200,
    share: 8,
    mounts: true,
    ground: Ground::Disk,
    live,
};

const TIMES: usize = 4;
const TMPFS_BYTES: u64 = 48 << 20;
/// Space for some more groups, or none.
const LEFT_BYTES_MAX: u64 = 3 << 20;
/// A disk this small is full of inserts before.
const FULL_MAX: Duration = Duration::from_secs(60);
/// What was waited for space is caught up in this time.
const WELL_MAX: Duration = Duration::from_secs(30);

fn live(life: &mut Life<'_>) -> Result {
    let is_ext4 = life.index % 2 == 1;
    let disk = if is_ext4 { Disk::ext4(&life.dir)? } else { Disk::tmpfs(&life.dir, TMPFS_BYTES)? };
    let (dir, data) = (life.dir.clone(), disk.path().join("data"));
    let segment_bytes = ["64KiB", "256KiB"][life.random.random_range(0..2)];
    let place = Place { data: Some(&data), segment_bytes, ..Place::new(&dir) };
    let place = place.checkpoint_any(&mut life.random);
    let ballast = disk.path().join("ballast");
    let mut ledger = Ledger::default();
    let mut server = place.serve()?;
    for _ in 0..TIMES {
        if !life.goes_on() {
            break;
        }
        load::run(&mut ledger, server.client(), &mut life.random, |progress| {
            progress.until(50, Duration::from_secs(20));
            Ok(())
        })?;
        fill(&ballast, life.random.random_range(0..LEFT_BYTES_MAX))?;
        full(life, &server, &mut ledger)?;
        let restarts = life.random.random_bool(0.4);
        if restarts {
            server = restart_full(life, server, &place, &mut ledger, &ballast)?;
        }
        fs::remove_file(&ballast)?;
        well_again(life, &server, &mut ledger)?;
        let file_system = if is_ext4 { "ext4" } else { "tmpfs" };
        let how = if restarts { ", restarted while full" } else { "" };
        life.survived(format!("on {file_system}{how}"));
    }
    server.stop()?;
    let server = place.serve()?;
    ledger.check(server.client(), &mut life.random)?;
    life.checked(&mut ledger);
    server.stop()
}

/// Takes all space but so many bytes.
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
    // Allocation is delayed on ext4: what was taken in may still not be there.
    let _ = file.sync_all();
    Ok(file.set_len(len.saturating_sub(left))?)
}

/// Inserts until there is no space, and reads.
fn full(life: &mut Life<'_>, server: &Server, ledger: &mut Ledger) -> Result {
    let client = server.client();
    let refused = load::run(ledger, client, &mut life.random, |progress| {
        let deadline = Instant::now() + FULL_MAX;
        while progress.refused("disk-full") < 5 && progress.goes_on() && Instant::now() < deadline {
            thread::park_timeout(Duration::from_millis(5));
        }
        Ok(progress.refused("disk-full"))
    })?;
    ensure!(
        refused >= 5,
        "the disk is full, and inserts are not refused with 507 disk-full: {}",
        server.log()
    );
    for route in ["/livez", "/readyz", "/health"] {
        let answer = client.get(route)?;
        ensure!(answer.status == 200, "{route} on a full disk: {answer:?}");
    }
    // Reads of the log and of the newest values need no space at all.
    for route in ["/log", "/latest"] {
        let answer = client.get(route)?;
        ensure!(answer.status == 200, "{route} on a full disk: {}", answer.status);
    }
    ledger.check_under_fault(client)?;
    let log = ledger.read_log(client)?;
    ledger.viewers[0].catch_up(client, &log)
}

/// A start on a full disk serves what is there, or says why not.
fn restart_full<'a>(
    life: &mut Life<'_>,
    server: Server,
    place: &Place<'a>,
    ledger: &mut Ledger,
    ballast: &PathBuf,
) -> Result<Server> {
    if life.random.random_bool(0.5) {
        server.kill()?
    } else {
        server.stop()?
    }
    let mut server = place.spawn()?;
    match server.serving(crate::server::START_MAX)? {
        None => {
            ledger.check_under_fault(server.client())?;
            life.note("starts on a full disk that served");
            Ok(server)
        }
        Some(ended) => {
            let sentence = ended.explained()?;
            ensure!(
                sentence.contains("space"),
                "it does not say that space is missing: {sentence}"
            );
            life.note("starts on a full disk that were refused for it");
            File::create(ballast)?;
            place.serve()
        }
    }
}

/// There is space again.
fn well_again(life: &mut Life<'_>, server: &Server, ledger: &mut Ledger) -> Result {
    let client = server.client();
    let started = Instant::now();
    loop {
        let mut request = Request::plain(&mut life.random, "e.0");
        let answer = client.insert(&request.body())?;
        request.answered(&answer)?;
        let stored = matches!(request.outcome, Outcome::Acknowledged(_));
        ledger.requests.push(request);
        if stored {
            break;
        }
        ensure!(
            started.elapsed() < WELL_MAX,
            "space is back, and inserts are still refused: {answer:?}"
        );
        thread::park_timeout(Duration::from_millis(20));
    }
    caught_up(client)?;
    ledger.check(client, &mut life.random)
}

fn caught_up(client: Client) -> Result {
    check::ready(client).map_err(|error| format!("space is back: {error}").into())
}

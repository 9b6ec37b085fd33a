//! Power cuts: an ext4 on a loop device loses everything that was not synced, at one moment.
//!
//! The cut stops the file system itself (`shim/godown.c`): nothing in the page cache reaches the
//! image any more. The image is copied while the server is frozen and after the last
//! acknowledgement in the ledger, so the copy shows a single moment.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use broker_tools::{Result, ensure};
use rand::Rng as _;
use rand::rngs::StdRng;
use rustix::process::Signal;

use crate::campaign::{Campaign, Case, Storage};
use crate::disk::Disk;
use crate::files::read_all;
use crate::ledger::Ledger;
use crate::load;
use crate::server::{Server, ServerConfig};
use crate::shim::{Fault, FaultKind, Shim};

/// The campaign.
pub const CAMPAIGN: Campaign = Campaign {
    name: "power",
    unit: "power cuts",
    ci: 12,
    hour: 500,
    share: 7,
    mounts: true,
    storage: Storage::Disk,
    run,
};

const CUTS: usize = 8;
const OPEN_US: u64 = 60_000;
const SECTOR: usize = 512;
/// Some dozens of groups are written within this time.
const SYNC_MAX: Duration = Duration::from_secs(10);

fn run(case: &mut Case<'_>) -> Result {
    let mut disk = Disk::ext4(&case.dir)?;
    let is_heavy = case.random.random_bool(0.5);
    let mut ledger = Ledger { is_heavy, ..Ledger::default() };
    for _ in 0..CUTS {
        if !case.has_more() {
            break;
        }
        let what;
        (disk, what) = cut_once(case, disk, &mut ledger)?;
        // Without a check the next cut may come during the recovery from this one.
        if case.random.random_bool(0.8) {
            check(case, &disk, &mut ledger)?;
        }
        case.survived(what);
    }
    check(case, &disk, &mut ledger)?;
    case.count_checks(&mut ledger);
    Ok(())
}

/// Starts a server after the cut and checks everything.
fn check(case: &mut Case<'_>, disk: &Disk, ledger: &mut Ledger) -> Result {
    let (dir, data) = (case.dir.clone(), disk.path().join("data"));
    let config =
        ServerConfig { data: Some(&data), ..ServerConfig::new(&dir) }.any_open(&mut case.random);
    let server = config.serve()?;
    if server.log().contains("torn-") {
        case.note("torn tails quarantined");
    }
    ledger.check(server.client(), &mut case.random)?;
    if case.random.random_bool(0.5) { server.stop() } else { server.kill() }
}

/// Cuts the power once. Returns in which phase.
fn cut_once(case: &mut Case<'_>, disk: Disk, ledger: &mut Ledger) -> Result<(Disk, &'static str)> {
    let (dir, data) = (case.dir.clone(), disk.path().join("data"));
    let config =
        ServerConfig { data: Some(&data), ..ServerConfig::new(&dir) }.any_open(&mut case.random);
    let pause = Duration::from_micros(case.random.random_range(0..OPEN_US));
    if case.random.random_bool(0.2) {
        let server = config.spawn()?;
        thread::park_timeout(pause);
        return Ok((cut(case, disk, server)?, "while it opened the log"));
    }
    let shim = Shim::new(case.tools, &dir)?;
    let server = config.with(&shim).serve()?;
    let nth = case.random.random_range(1..30);
    // A disk that fails and then loses power: a group whose sync failed is not acknowledged.
    let fails = case.random.random_bool(0.2);
    if fails {
        shim.arm(Fault::in_journal("fdatasync", nth, FaultKind::Eio, false))?;
    } else if case.random.random_bool(0.4) {
        shim.arm(Fault::in_journal("fdatasync", nth, FaultKind::Stall, true))?;
        return Ok((cut_in_a_sync(case, disk, server, &shim, ledger)?, "during a sync"));
    }
    let enough = case.random.random_range(1..120);
    let shuts_down = case.random.random_bool(0.2);
    let mut random = case.random.clone();
    let disk = load::run(ledger, server.client(), &mut random, |progress| {
        progress.until(enough, Duration::from_secs(10));
        if shuts_down {
            server.signal(Signal::TERM)?;
        }
        thread::park_timeout(pause / 10);
        cut(case, disk, server)
    })?;
    case.random = random;
    Ok((
        disk,
        if fails {
            "after a failed sync"
        } else if shuts_down {
            "while it shut down"
        } else {
            "under load"
        },
    ))
}

/// Cuts the power, and copies the image when no call is running.
///
/// In half of the cuts the server is frozen before. In the others the cut comes in the middle of
/// its calls, which complete before the server is frozen, so that their effects are in the copy
/// too.
fn cut(case: &mut Case<'_>, disk: Disk, mut server: Server) -> Result<Disk> {
    let freezes_first = case.random.random_bool(0.5);
    if freezes_first {
        freeze_if_running(&mut server)?;
    }
    disk.cut_power(case.tools)?;
    if !freezes_first {
        freeze_if_running(&mut server)?;
    }
    disk.replace_by_copy(|| server.kill())
}

/// Cuts the power after a group was written and its sync began: the disk may hold any part of it.
/// Random sectors that only the page cache held are put into the copy.
fn cut_in_a_sync(
    case: &mut Case<'_>,
    disk: Disk,
    mut server: Server,
    shim: &Shim,
    ledger: &mut Ledger,
) -> Result<Disk> {
    let mut random = case.random.clone();
    let disk = load::run(ledger, server.client(), &mut random, |progress| {
        let deadline = Instant::now() + SYNC_MAX;
        while shim.hits()? == 0 && progress.is_running() && Instant::now() < deadline {
            progress.until(usize::MAX, Duration::from_millis(1));
        }
        freeze_if_running(&mut server)?;
        let journal = disk.path().join("data/journal");
        let cached = read_all(&journal)?;
        disk.cut_power(case.tools)?;
        let disk = disk.replace_by_copy(|| server.kill())?;
        for (path, cached) in cached {
            // A new file, or another length, would need more than sectors.
            let stored = fs::read(&path).unwrap_or_default();
            if stored.len() == cached.len() && stored != cached {
                fs::write(&path, mix_sectors(&mut case.random, &stored, &cached))?;
            }
        }
        Ok(disk)
    })?;
    case.random = random;
    Ok(disk)
}

/// Random sectors of both, in a random proportion.
fn mix_sectors(random: &mut StdRng, stored: &[u8], cached: &[u8]) -> Vec<u8> {
    let share = [0.1, 0.5, 0.9, 1.0][random.random_range(0..4)];
    let sectors = stored.chunks(SECTOR).zip(cached.chunks(SECTOR));
    sectors
        .flat_map(|(stored, cached)| if random.random_bool(share) { cached } else { stored })
        .copied()
        .collect()
}

fn freeze_if_running(server: &mut Server) -> Result {
    if !server.has_exited()? {
        // It may stop at this moment.
        let frozen = server.freeze();
        ensure!(frozen.is_ok() || server.has_exited()?, "{frozen:?}");
    }
    Ok(())
}

/// The control: when syncs lie, the checks must find that acknowledged records are missing.
pub fn lying_syncs_are_found(case: &mut Case<'_>) -> Result {
    for _ in 0..5 {
        let disk = Disk::ext4(&case.dir)?;
        let (dir, data) = (case.dir.clone(), disk.path().join("data"));
        let shim = Shim::new(case.tools, &dir)?;
        let server =
            ServerConfig { data: Some(&data), ..ServerConfig::new(&dir) }.with(&shim).serve()?;
        shim.arm(Fault::in_journal("fdatasync", 1, FaultKind::Skip, true))?;
        let mut ledger = Ledger::default();
        let mut random = case.random.clone();
        let disk = load::run(&mut ledger, server.client(), &mut random, |progress| {
            progress.until(30, Duration::from_secs(10));
            cut(case, disk, server)
        })?;
        case.random = random;
        match check(case, &disk, &mut ledger) {
            Ok(()) => drop(disk),
            Err(_) => return Ok(()),
        }
    }
    Err("five power cuts under lying syncs lost nothing: the campaign cannot fail".into())
}

//! Power cuts: an ext4 on a loop device loses everything that was not synced, at one moment.
//!
//! The cut stops the file system itself (`shim/godown.c`): what the page cache holds never reaches
//! the image. The server stands still, and every acknowledgement of the book came before that, when
//! the image is copied; so the copy is of one moment and not smeared.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::rngs::StdRng;
use rustix::process::Signal;

use crate::campaign::{Campaign, Ground, Life};
use crate::disk::Disk;
use crate::files::snapshot;
use crate::ledger::Ledger;
use crate::load;
use crate::server::{Place, Server};
use crate::shim::{Fault, Kind, Shim};
use crate::{Result, ensure};

/// The campaign.
pub const CAMPAIGN: Campaign = Campaign {
    name: "power",
    unit: "power cuts",
    ci: 12,
    hour: 500,
    share: 7,
    mounts: true,
    ground: Ground::Disk,
    live,
};

const CUTS: usize = 8;
const OPEN_US: u64 = 60_000;
const SECTOR: usize = 512;
/// Some dozens of groups are written within this time.
const SYNC_MAX: Duration = Duration::from_secs(10);

fn live(life: &mut Life<'_>) -> Result {
    let mut disk = Disk::ext4(&life.dir)?;
    let heavy = life.random.random_bool(0.5);
    let mut ledger = Ledger { heavy, ..Ledger::default() };
    for _ in 0..CUTS {
        if !life.goes_on() {
            break;
        }
        let what;
        (disk, what) = one(life, disk, &mut ledger)?;
        // Without a check the next cut may come while this one is recovered from.
        if life.random.random_bool(0.8) {
            check(life, &disk, &mut ledger)?;
        }
        life.survived(what);
    }
    check(life, &disk, &mut ledger)?;
    life.checked(&mut ledger);
    Ok(())
}

/// What is there after the cut.
fn check(life: &mut Life<'_>, disk: &Disk, ledger: &mut Ledger) -> Result {
    let (dir, data) = (life.dir.clone(), disk.path().join("data"));
    let place = Place { data: Some(&data), ..Place::new(&dir) }.open_any(&mut life.random);
    let server = place.serve()?;
    if server.log().contains("torn-") {
        life.note("torn tails kept aside");
    }
    ledger.check(server.client(), &mut life.random)?;
    if life.random.random_bool(0.5) { server.stop() } else { server.kill() }
}

/// One cut; what it hit.
fn one(life: &mut Life<'_>, disk: Disk, ledger: &mut Ledger) -> Result<(Disk, &'static str)> {
    let (dir, data) = (life.dir.clone(), disk.path().join("data"));
    let place = Place { data: Some(&data), ..Place::new(&dir) }.open_any(&mut life.random);
    let pause = Duration::from_micros(life.random.random_range(0..OPEN_US));
    if life.random.random_bool(0.2) {
        let server = place.spawn()?;
        thread::park_timeout(pause);
        return Ok((cut(life, disk, server)?, "while it opened"));
    }
    let shim = Shim::new(life.tools, &dir)?;
    let server = place.with(&shim).serve()?;
    let nth = life.random.random_range(1..30);
    // A disk that fails and then loses power: nothing that failed to sync may be acknowledged.
    let fails = life.random.random_bool(0.2);
    if fails {
        shim.arm(Fault { call: 1, scope: 0, nth, kind: Kind::Eio, sticky: false })?;
    } else if life.random.random_bool(0.4) {
        shim.arm(Fault { call: 1, scope: 0, nth, kind: Kind::Stall, sticky: true })?;
        return Ok((cut_in_a_sync(life, disk, server, &shim, ledger)?, "in the middle of a sync"));
    }
    let enough = life.random.random_range(1..120);
    let shuts_down = life.random.random_bool(0.2);
    let mut random = life.random.clone();
    let disk = load::run(ledger, server.client(), &mut random, |progress| {
        progress.until(enough, Duration::from_secs(10));
        if shuts_down {
            server.signal(Signal::TERM)?;
        }
        thread::park_timeout(pause / 10);
        cut(life, disk, server)
    })?;
    life.random = random;
    Ok((
        disk,
        if fails {
            "as a sync failed"
        } else if shuts_down {
            "while it shut down"
        } else {
            "under load"
        },
    ))
}

/// The power is cut, and the image is copied when nothing is under way any more.
///
/// In half of the cuts the server stands still before; in the others the cut comes in the middle of
/// its calls, which end before it stands still, so that what they were told is in the copy too.
fn cut(life: &mut Life<'_>, disk: Disk, mut server: Server) -> Result<Disk> {
    let is_still = life.random.random_bool(0.5);
    if is_still {
        stand_still(&mut server)?;
    }
    disk.cut_power(life.tools)?;
    if !is_still {
        stand_still(&mut server)?;
    }
    disk.replace_by_copy(|| server.kill())
}

/// A group is written and its sync has begun: the disk may hold any part of it, sector by sector.
/// What the page cache held and the copy lacks is put there by lot.
fn cut_in_a_sync(
    life: &mut Life<'_>,
    disk: Disk,
    mut server: Server,
    shim: &Shim,
    ledger: &mut Ledger,
) -> Result<Disk> {
    let mut random = life.random.clone();
    let disk = load::run(ledger, server.client(), &mut random, |progress| {
        let deadline = Instant::now() + SYNC_MAX;
        while shim.struck()? == 0 && progress.goes_on() && Instant::now() < deadline {
            progress.until(usize::MAX, Duration::from_millis(1));
        }
        stand_still(&mut server)?;
        let journal = disk.path().join("data/journal");
        let held = snapshot(&journal)?;
        disk.cut_power(life.tools)?;
        let disk = disk.replace_by_copy(|| server.kill())?;
        for (path, held) in held {
            // What has another length, or no name yet, would need more than its sectors.
            let there = fs::read(&path).unwrap_or_default();
            if there.len() == held.len() && there != held {
                fs::write(&path, some_sectors(&mut life.random, &there, &held))?;
            }
        }
        Ok(disk)
    })?;
    life.random = random;
    Ok(disk)
}

/// Sectors of either, with more of the one or of the other.
fn some_sectors(random: &mut StdRng, there: &[u8], held: &[u8]) -> Vec<u8> {
    let share = [0.1, 0.5, 0.9, 1.0][random.random_range(0..4)];
    let sectors = there.chunks(SECTOR).zip(held.chunks(SECTOR));
    sectors
        .flat_map(|(there, held)| if random.random_bool(share) { held } else { there })
        .copied()
        .collect()
}

fn stand_still(server: &mut Server) -> Result {
    if !server.has_ended()? {
        // It may end in this moment.
        let frozen = server.freeze();
        ensure!(frozen.is_ok() || server.has_ended()?, "{frozen:?}");
    }
    Ok(())
}

/// The control: under syncs that lie, acknowledged records must be found missing.
pub fn lies_are_found(life: &mut Life<'_>) -> Result {
    for _ in 0..5 {
        let disk = Disk::ext4(&life.dir)?;
        let (dir, data) = (life.dir.clone(), disk.path().join("data"));
        let shim = Shim::new(life.tools, &dir)?;
        let server = Place { data: Some(&data), ..Place::new(&dir) }.with(&shim).serve()?;
        shim.arm(Fault { call: 1, scope: 0, nth: 1, kind: Kind::Skip, sticky: true })?;
        let mut ledger = Ledger::default();
        let mut random = life.random.clone();
        let disk = load::run(&mut ledger, server.client(), &mut random, |progress| {
            progress.until(30, Duration::from_secs(10));
            cut(life, disk, server)
        })?;
        life.random = random;
        match check(life, &disk, &mut ledger) {
            Ok(()) => drop(disk),
            Err(_) => return Ok(()),
        }
    }
    Err("five power cuts under syncs that lie lost nothing: the campaign proves nothing".into())
}

//! Power cuts: an ext4 on a loop device loses everything that was not synced, at one moment.
//!
//! Every acknowledgement of the book came before the server stood still, and the server stands
//! still before the power is cut. The cut stops the file system itself (`shim/godown.c`): what the
//! page cache holds never reaches the image, so the copy is of one moment and not smeared.

use std::thread;
use std::time::Duration;

use rand::Rng as _;
use rustix::process::Signal;

use crate::campaign::{Campaign, Ground, Life};
use crate::disk::Disk;
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
    share: 15,
    mounts: true,
    ground: Ground::Disk,
    live,
};

const CUTS: usize = 8;
const OPEN_US: u64 = 60_000;

fn live(life: &mut Life<'_>) -> Result {
    let mut disk = Disk::ext4(&life.dir)?;
    let mut ledger = Ledger::default();
    for _ in 0..CUTS {
        if !life.goes_on() {
            break;
        }
        let what;
        (disk, what) = one(life, disk, &mut ledger)?;
        check(life, &disk, &mut ledger)?;
        life.survived(what);
    }
    Ok(())
}

/// What is there after the cut.
fn check(life: &mut Life<'_>, disk: &Disk, ledger: &mut Ledger) -> Result {
    let (dir, data) = (life.dir.clone(), disk.path().join("data"));
    let server = Place { data: Some(&data), ..Place::new(&dir) }.serve()?;
    ledger.check(server.client(), &mut life.random)?;
    if life.random.random_bool(0.5) { server.stop() } else { server.kill() }
}

/// One cut; what it hit.
fn one(life: &mut Life<'_>, disk: Disk, ledger: &mut Ledger) -> Result<(Disk, &'static str)> {
    let (dir, data) = (life.dir.clone(), disk.path().join("data"));
    let place = Place { data: Some(&data), ..Place::new(&dir) };
    let pause = Duration::from_micros(life.random.random_range(0..OPEN_US));
    if life.random.random_bool(0.2) {
        let server = place.spawn()?;
        thread::park_timeout(pause);
        return Ok((cut(life, disk, server)?, "while it opened"));
    }
    let shim = Shim::new(life.tools, &dir)?;
    // A disk that fails and then loses power: nothing that failed to sync may be acknowledged.
    let fails = life.random.random_bool(0.2);
    let server = place.with(&shim).serve()?;
    if fails {
        let nth = life.random.random_range(1..30);
        shim.arm(Fault { call: 1, scope: 0, nth, kind: Kind::Eio, sticky: false })?;
    }
    let enough = life.random.random_range(1..120);
    let shuts_down = life.random.random_bool(0.2);
    let random = &mut life.random.clone();
    let disk = load::run(ledger, server.client(), random, |progress| {
        progress.until(enough, Duration::from_secs(10));
        if shuts_down {
            server.signal(Signal::TERM)?;
        }
        thread::park_timeout(pause / 10);
        cut(life, disk, server)
    })?;
    life.random = random.clone();
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

/// The server stands still, the power is cut, the image is copied; only then is it killed.
fn cut(life: &Life<'_>, disk: Disk, mut server: Server) -> Result<Disk> {
    if !server.has_ended()? {
        // It may end in this moment.
        let frozen = server.freeze();
        ensure!(frozen.is_ok() || server.has_ended()?, "{frozen:?}");
    }
    disk.cut_power(life.tools, || server.kill())
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
        let random = &mut life.random.clone();
        let disk = load::run(&mut ledger, server.client(), random, |progress| {
            progress.until(30, Duration::from_secs(10));
            cut(life, disk, server)
        })?;
        life.random = random.clone();
        match check(life, &disk, &mut ledger) {
            Ok(()) => drop(disk),
            Err(_) => return Ok(()),
        }
    }
    Err("five power cuts under syncs that lie lost nothing: the campaign proves nothing".into())
}

//! kill -9 at any moment: under load, while the log is opened, while the history is built anew, and
//! in the middle of a shutdown. One directory lives through many.

use std::fs;
use std::thread;
use std::time::Duration;

use rand::Rng as _;
use rustix::process::Signal;

use crate::Result;
use crate::campaign::{Campaign, Ground, Life};
use crate::ledger::Ledger;
use crate::load;
use crate::server::Place;

/// The campaign.
pub const CAMPAIGN: Campaign = Campaign {
    name: "kill",
    unit: "kills",
    ci: 100,
    hour: 5_000,
    share: 24,
    mounts: false,
    ground: Ground::Both,
    live,
};

const KILLS: usize = 40;
/// A kill comes within this time of a start or of the wish to stop.
const MAKE_US: u64 = 30_000;
const OPEN_US: u64 = 60_000;

fn live(life: &mut Life<'_>) -> Result {
    let dir = life.dir.clone();
    let sizes = ["64KiB", "256KiB", "1MiB"];
    let segment_bytes = sizes[life.random.random_range(0..sizes.len())];
    let place = Place { segment_bytes, ..Place::new(&dir) }.open_any(&mut life.random);
    let mut ledger = Ledger::default();
    for _ in 0..life.random.random_range(0..4) {
        // A directory that is being made takes a few milliseconds.
        let server = place.spawn()?;
        thread::park_timeout(Duration::from_micros(life.random.random_range(0..MAKE_US)));
        server.kill()?;
        life.survived("while the directory was made");
    }
    for _ in 0..KILLS {
        if !life.goes_on() {
            break;
        }
        let what = one(life, &place, &mut ledger)?;
        life.survived(what);
    }
    // Once more in peace: what the kills left is what a clean end keeps.
    let server = place.serve()?;
    ledger.check(server.client(), &mut life.random)?;
    server.stop()?;
    let server = place.serve()?;
    ledger.check(server.client(), &mut life.random)?;
    life.checked(&mut ledger);
    server.stop()
}

/// One kill; what it hit.
fn one(life: &mut Life<'_>, place: &Place<'_>, ledger: &mut Ledger) -> Result<&'static str> {
    let pause = Duration::from_micros(life.random.random_range(0..OPEN_US));
    match life.random.random_range(0..10) {
        0 => {
            let server = place.spawn()?;
            thread::park_timeout(pause);
            server.kill()?;
            return Ok("while it opened");
        }
        1 => {
            // The history is built from the log again, or was being built when the last kill came.
            let _ = fs::remove_dir_all(place.data().join("projection"));
            let server = place.spawn()?;
            thread::park_timeout(pause * 2);
            server.kill()?;
            return Ok("while it rebuilt");
        }
        _ => {}
    }
    let server = place.serve()?;
    let client = server.client();
    ledger.check(client, &mut life.random)?;
    if life.random.random_bool(0.1) {
        load::bulk(ledger, client, &mut life.random)?;
    }
    let enough = life.random.random_range(1..80);
    let shuts_down = life.random.random_bool(0.2);
    load::run(ledger, client, &mut life.random, |progress| {
        progress.until(enough, Duration::from_secs(10));
        if shuts_down {
            server.signal(Signal::TERM)?;
        }
        thread::park_timeout(if shuts_down { pause / 4 } else { pause / 20 });
        server.kill()
    })?;
    Ok(if shuts_down { "while it shut down" } else { "under load" })
}

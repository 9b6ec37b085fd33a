//! The n-th call of a kind fails: with EIO, with ENOSPC, by half, after it did its work, or by
//! never returning; once or from then on; on the journal's files, on sled's, and on the others.
//!
//! Whatever happens then is right, an explicit error, or a stop that is told, within 11 s; and a
//! start without the fault finds everything.

use std::thread;
use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::rngs::StdRng;
use rustix::process::Signal;

use crate::campaign::{Campaign, Ground, Life};
use crate::campaigns::still;
use crate::ledger::Ledger;
use crate::load::{self, Progress};
use crate::server::{Place, STOP_MAX, Server};
use crate::shim::{CALLS, Fault, Kind, SCOPES, Shim};
use crate::{Result, ensure};

/// The campaign.
pub const CAMPAIGN: Campaign = Campaign {
    name: "faults",
    unit: "points",
    ci: 150,
    hour: 5_000,
    share: 30,
    mounts: false,
    ground: Ground::Memory,
    live,
};

const POINTS: usize = 15;
/// One of so many points stalls, for each costs what the watchdog waits.
const STALLS: u32 = 40;
/// Requests that a load has acknowledged.
const LOAD: usize = 40;
/// Calls beyond this one are as good as earlier ones.
const NTH_MAX: i64 = 120;

/// How often each kind of call is made up to serving, and after that.
struct Census(Vec<(usize, usize, [i64; 2])>);

fn live(life: &mut Life<'_>) -> Result {
    // Every run has these, too.
    let still = match life.index {
        2 => Some(still::history(life).map_err(|error| format!("a still history: {error}"))?),
        3 | 4 => {
            let what = still::checkpoint(life, life.index == 4);
            Some(what.map_err(|error| format!("a still checkpoint: {error}"))?)
        }
        5 => Some(still::log(life).map_err(|error| format!("a still log: {error}"))?),
        _ => None,
    };
    if let Some(what) = still {
        life.survived(what);
    }
    let dir = life.dir.clone();
    let shim = Shim::new(life.tools, &dir)?;
    let place = Place::new(&dir).with(&shim).open_any(&mut life.random);
    let mut ledger = Ledger::default();
    let fresh = Census::take(life, &place, &shim, &mut ledger)?;
    let mut later = Census::take(life, &place, &shim, &mut ledger)?;
    for point in 0..POINTS {
        if !life.goes_on() {
            break;
        }
        let is_fresh = point % 5 == 4;
        if is_fresh {
            // A directory that is made while calls fail.
            let _ = std::fs::remove_dir_all(place.data());
            life.checked(&mut ledger);
            ledger = Ledger::default();
        } else if point > 0 && point % 5 == 0 {
            later = Census::take(life, &place, &shim, &mut ledger)?;
        }
        let census = if is_fresh { &fresh } else { &later };
        let (fault, at_start) = match (life.index, point) {
            // Every run has these two: a sync that hangs, under load and while the log is opened.
            (0, 0) => (Fault { call: 1, scope: 0, nth: 5, kind: Kind::Stall, sticky: true }, false),
            (1, 0) => (Fault { call: 1, scope: 0, nth: 1, kind: Kind::Stall, sticky: true }, true),
            _ => census.choose(&mut life.random),
        };
        let name = format!("{fault}, from {}", if at_start { "the start" } else { "serving" });
        let what = one(life, &place, &shim, &mut ledger, fault, at_start)
            .map_err(|error| format!("{name}: {error}"))?;
        match what {
            Some(end) => {
                let call = format!("{} on {}", CALLS[fault.call], SCOPES[fault.scope]);
                life.note(format!("{:?} at {call}", fault.kind));
                life.survived(end);
            }
            None => life.note("not struck"),
        }
    }
    life.checked(&mut ledger);
    Ok(())
}

impl Census {
    /// A start, a load and a stop without a fault.
    fn take(
        life: &mut Life<'_>,
        place: &Place<'_>,
        shim: &Shim,
        ledger: &mut Ledger,
    ) -> Result<Self> {
        shim.count()?;
        let server = place.serve()?;
        let mut starts = Vec::new();
        for (call, scope) in pairs() {
            starts.push(shim.counted(call, scope)?);
        }
        load::run(ledger, server.client(), &mut life.random, |progress| {
            progress.until(LOAD, Duration::from_secs(20));
            Ok(())
        })?;
        load::bulk(ledger, server.client(), &mut life.random)?;
        server.stop()?;
        let mut counts = Vec::new();
        for ((call, scope), start) in pairs().zip(starts) {
            let all = shim.counted(call, scope)?;
            if all > 0 {
                counts.push((call, scope, [start, all - start]));
            }
        }
        Ok(Self(counts))
    }

    fn choose(&self, random: &mut StdRng) -> (Fault, bool) {
        // What acknowledgements rest on is tried more often than the rest.
        let journal: Vec<_> =
            self.0.iter().filter(|(call, scope, _)| *scope == 0 && *call < 3).collect();
        let (call, scope, [starting, serving]) = match random.random_bool(0.4) {
            true => *journal[random.random_range(0..journal.len())],
            false => self.0[random.random_range(0..self.0.len())],
        };
        let at_start = serving == 0 || starting > 0 && random.random_bool(0.5);
        let calls = if at_start { starting } else { serving };
        let nth = random.random_range(1..=calls.clamp(1, NTH_MAX));
        let kinds: &[Kind] = match CALLS[call] {
            "pwrite" => &[Kind::Eio, Kind::Enospc, Kind::Short, Kind::DoneButEio],
            "open" => &[Kind::Eio, Kind::Enospc],
            "pread" => &[Kind::Eio, Kind::Short],
            _ => &[Kind::Eio, Kind::Enospc, Kind::DoneButEio],
        };
        // A disk that takes nothing has to be noticed; one that gives nothing answers nobody.
        let is_read = matches!(CALLS[call], "open" | "pread");
        let stalls = random.random_ratio(1, STALLS) && !is_read;
        let kind = if stalls { Kind::Stall } else { kinds[random.random_range(0..kinds.len())] };
        let sticky = random.random_bool(0.4);
        (Fault { call, scope, nth, kind, sticky }, at_start)
    }
}

fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..CALLS.len()).flat_map(|call| (0..SCOPES.len()).map(move |scope| (call, scope)))
}

/// One point: the fault, what it led to, and a start without it. `None` when it did not come to it.
fn one(
    life: &mut Life<'_>,
    place: &Place<'_>,
    shim: &Shim,
    ledger: &mut Ledger,
    fault: Fault,
    at_start: bool,
) -> Result<Option<&'static str>> {
    if at_start {
        shim.arm(fault)?;
    }
    let mut server = place.spawn()?;
    let end = match server.serving(STOP_MAX)? {
        Some(ended) => {
            ended.explained()?;
            "refused to start"
        }
        None => {
            if !at_start {
                shim.arm(fault)?;
            }
            under_fault(life, server, shim, ledger)?
        }
    };
    let struck = shim.struck()? > 0;
    shim.calm()?;
    let server = place.serve()?;
    ledger.check(server.client(), &mut life.random)?;
    server.stop()?;
    Ok(struck.then_some(end))
}

/// A server that serves while its calls fail; how it ended.
fn under_fault(
    life: &mut Life<'_>,
    mut server: Server,
    shim: &Shim,
    ledger: &mut Ledger,
) -> Result<&'static str> {
    let client = server.client();
    load::run(ledger, client, &mut life.random, |progress| wait(progress, shim))?;
    if !ended_by_itself(&mut server, shim)? {
        ledger.check_under_fault(client)?;
    }
    // It may have ended meanwhile.
    if server.has_ended()? {
        server.ended(STOP_MAX)?.explained()?;
        return Ok("stopped by itself");
    }
    if life.random.random_bool(0.3) {
        server.kill()?;
        return Ok("went on, and was killed");
    }
    server.signal(Signal::TERM)?;
    let ended = server.ended(STOP_MAX)?;
    // What fails while it stops is told, too.
    if !ended.status.success() {
        ended.explained()?;
        return Ok("went on, and its stop failed");
    }
    Ok("went on, and was stopped")
}

/// Until enough is acknowledged, or nothing goes on any more.
fn wait(progress: &Progress, shim: &Shim) -> Result {
    let deadline = Instant::now() + STOP_MAX;
    let mut acknowledged = 0;
    while progress.goes_on() && acknowledged < LOAD && Instant::now() < deadline {
        acknowledged += 1;
        progress.until(acknowledged, Duration::from_millis(500));
        // Refusals only: what is to happen has happened.
        let refused = ["storage-failed", "disk-full", "behind", "ids-not-ready"];
        if shim.struck()? > 0 && refused.iter().any(|code| progress.refused(code) > 50) {
            break;
        }
    }
    Ok(())
}

/// A server whose storage failed says so and ends; one that says that it is well may go on.
fn ended_by_itself(server: &mut Server, shim: &Shim) -> Result<bool> {
    if shim.struck()? == 0 {
        return server.has_ended();
    }
    let deadline = Instant::now() + STOP_MAX;
    while !server.has_ended()? {
        let Ok(answer) = server.client().get("/readyz") else {
            // Going: it must be gone soon.
            ensure!(Instant::now() < deadline, "it neither answers nor ends");
            thread::park_timeout(Duration::from_millis(5));
            continue;
        };
        if answer.code() != "storage-failed" && answer.code() != "shutting-down" {
            return Ok(false);
        }
        ensure!(Instant::now() < deadline, "storage failed, and it does not end");
        thread::park_timeout(Duration::from_millis(5));
    }
    Ok(true)
}

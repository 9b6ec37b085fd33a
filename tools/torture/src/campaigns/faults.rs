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

use crate::campaign::{Campaign, Case, Storage};
use crate::campaigns::stalls;
use crate::ledger::Ledger;
use crate::load::{self, Progress};
use crate::server::{STOP_MAX, Server, ServerConfig};
use crate::shim::{CALLS, Fault, FaultKind, SCOPES, Shim};
use crate::{Result, ensure};

/// The campaign.
pub const CAMPAIGN: Campaign = Campaign {
    name: "faults",
    unit: "points",
    ci: 150,
    hour: 5_000,
    share: 30,
    mounts: false,
    storage: Storage::Memory,
    run,
};

const POINTS: usize = 15;
/// One of so many points stalls, for each costs what the watchdog waits.
const STALLS: u32 = 40;
/// Requests that a load has acknowledged.
const LOAD: usize = 40;
/// Calls beyond this one are as good as earlier ones.
const NTH_MAX: i64 = 120;

/// How often each kind of call is made up to serving, and after that.
struct CallCounts(Vec<(usize, usize, [i64; 2])>);

fn run(case: &mut Case<'_>) -> Result {
    // Every run has these, too.
    let stalls = match case.index {
        2 => Some(
            stalls::stalled_history(case).map_err(|error| format!("a still history: {error}"))?,
        ),
        3 | 4 => {
            let what = stalls::stalled_snapshot(case, case.index == 4);
            Some(what.map_err(|error| format!("a still checkpoint: {error}"))?)
        }
        5 => Some(stalls::stalled_log(case).map_err(|error| format!("a still log: {error}"))?),
        _ => None,
    };
    if let Some(what) = stalls {
        case.survived(what);
    }
    let dir = case.dir.clone();
    let shim = Shim::new(case.tools, &dir)?;
    let config = ServerConfig::new(&dir).with(&shim).any_open(&mut case.random);
    let mut ledger = Ledger::default();
    let fresh = CallCounts::take(case, &config, &shim, &mut ledger)?;
    let mut existing = CallCounts::take(case, &config, &shim, &mut ledger)?;
    for point in 0..POINTS {
        if !case.has_more() {
            break;
        }
        let is_fresh = point % 5 == 4;
        if is_fresh {
            // A directory that is made while calls fail.
            let _ = std::fs::remove_dir_all(config.data());
            case.count_checks(&mut ledger);
            ledger = Ledger::default();
        } else if point > 0 && point % 5 == 0 {
            existing = CallCounts::take(case, &config, &shim, &mut ledger)?;
        }
        let census = if is_fresh { &fresh } else { &existing };
        let (fault, at_start) = match (case.index, point) {
            // Every run has these two: a sync that hangs, under load and while the log is opened.
            (0, 0) => {
                (Fault { call: 1, scope: 0, nth: 5, kind: FaultKind::Stall, sticky: true }, false)
            }
            (1, 0) => {
                (Fault { call: 1, scope: 0, nth: 1, kind: FaultKind::Stall, sticky: true }, true)
            }
            _ => census.choose(&mut case.random),
        };
        let name = format!("{fault}, from {}", if at_start { "the start" } else { "serving" });
        let what = inject(case, &config, &shim, &mut ledger, fault, at_start)
            .map_err(|error| format!("{name}: {error}"))?;
        match what {
            Some(end) => {
                let call = format!("{} on {}", CALLS[fault.call], SCOPES[fault.scope]);
                case.note(format!("{:?} at {call}", fault.kind));
                case.survived(end);
            }
            None => case.note("not struck"),
        }
    }
    case.count_checks(&mut ledger);
    Ok(())
}

impl CallCounts {
    /// A start, a load and a stop without a fault.
    fn take(
        case: &mut Case<'_>,
        config: &ServerConfig<'_>,
        shim: &Shim,
        ledger: &mut Ledger,
    ) -> Result<Self> {
        shim.count()?;
        let server = config.serve()?;
        let mut starts = Vec::new();
        for (call, scope) in calls_and_scopes() {
            starts.push(shim.counted(call, scope)?);
        }
        load::run(ledger, server.client(), &mut case.random, |progress| {
            progress.until(LOAD, Duration::from_secs(20));
            Ok(())
        })?;
        load::bulk(ledger, server.client(), &mut case.random)?;
        server.stop()?;
        let mut counts = Vec::new();
        for ((call, scope), start) in calls_and_scopes().zip(starts) {
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
        let kinds: &[FaultKind] = match CALLS[call] {
            "pwrite" => {
                &[FaultKind::Eio, FaultKind::Enospc, FaultKind::Short, FaultKind::DoneButEio]
            }
            "open" => &[FaultKind::Eio, FaultKind::Enospc],
            "pread" => &[FaultKind::Eio, FaultKind::Short],
            _ => &[FaultKind::Eio, FaultKind::Enospc, FaultKind::DoneButEio],
        };
        // A disk that takes nothing has to be noticed; one that gives nothing answers nobody.
        let is_read = matches!(CALLS[call], "open" | "pread");
        let stalls = random.random_ratio(1, STALLS) && !is_read;
        let kind =
            if stalls { FaultKind::Stall } else { kinds[random.random_range(0..kinds.len())] };
        let sticky = random.random_bool(0.4);
        (Fault { call, scope, nth, kind, sticky }, at_start)
    }
}

fn calls_and_scopes() -> impl Iterator<Item = (usize, usize)> {
    (0..CALLS.len()).flat_map(|call| (0..SCOPES.len()).map(move |scope| (call, scope)))
}

/// One point: the fault, what it led to, and a start without it. `None` when it did not come to it.
fn inject(
    case: &mut Case<'_>,
    config: &ServerConfig<'_>,
    shim: &Shim,
    ledger: &mut Ledger,
    fault: Fault,
    at_start: bool,
) -> Result<Option<&'static str>> {
    if at_start {
        shim.arm(fault)?;
    }
    let mut server = config.spawn()?;
    let end = match server.wait_until_serving(STOP_MAX)? {
        Some(exit) => {
            exit.explanation()?;
            "refused to start"
        }
        None => {
            if !at_start {
                shim.arm(fault)?;
            }
            under_fault(case, server, shim, ledger)?
        }
    };
    let hits = shim.hits()? > 0;
    shim.disarm()?;
    let server = config.serve()?;
    ledger.check(server.client(), &mut case.random)?;
    server.stop()?;
    Ok(hits.then_some(end))
}

/// A server that serves while its calls fail; how it ended.
fn under_fault(
    case: &mut Case<'_>,
    mut server: Server,
    shim: &Shim,
    ledger: &mut Ledger,
) -> Result<&'static str> {
    let client = server.client();
    load::run(ledger, client, &mut case.random, |progress| load_until_hit(progress, shim))?;
    if !stopped_by_itself(&mut server, shim)? {
        ledger.check_under_fault(client)?;
    }
    // It may have ended meanwhile.
    if server.has_exited()? {
        server.wait_for_exit(STOP_MAX)?.explanation()?;
        return Ok("stopped by itself");
    }
    if case.random.random_bool(0.3) {
        server.kill()?;
        return Ok("went on, and was killed");
    }
    server.signal(Signal::TERM)?;
    let exit = server.wait_for_exit(STOP_MAX)?;
    // What fails while it stops is told, too.
    if !exit.status.success() {
        exit.explanation()?;
        return Ok("went on, and its stop failed");
    }
    Ok("went on, and was stopped")
}

/// Until enough is acknowledged, or nothing goes on any more.
fn load_until_hit(progress: &Progress, shim: &Shim) -> Result {
    let deadline = Instant::now() + STOP_MAX;
    let mut acknowledged = 0;
    while progress.is_running() && acknowledged < LOAD && Instant::now() < deadline {
        acknowledged += 1;
        progress.until(acknowledged, Duration::from_millis(500));
        // Refusals only: what is to happen has happened.
        let refused = ["storage-failed", "disk-full", "behind", "ids-not-ready"];
        if shim.hits()? > 0 && refused.iter().any(|code| progress.refused(code) > 50) {
            break;
        }
    }
    Ok(())
}

/// A server whose storage failed says so and ends; one that says that it is well may go on.
fn stopped_by_itself(server: &mut Server, shim: &Shim) -> Result<bool> {
    if shim.hits()? == 0 {
        return server.has_exited();
    }
    let deadline = Instant::now() + STOP_MAX;
    while !server.has_exited()? {
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

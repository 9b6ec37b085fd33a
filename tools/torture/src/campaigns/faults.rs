//! The n-th call of a kind fails: with EIO, with ENOSPC, half done, after its work is done, or by
//! never returning; once or from then on; on files of the journal, of sled, or on others.
//!
//! The result must be a right answer, an explicit error, or a stop with an explanation, within 11
//! s; and a start without the fault must find everything.

use std::thread;
use std::time::{Duration, Instant};

use broker_tools::{Result, ensure};
use rand::Rng as _;
use rand::rngs::StdRng;
use rustix::process::Signal;

use crate::campaign::{Campaign, Case, Storage};
use crate::campaigns::stalls;
use crate::ledger::Ledger;
use crate::load::{self, Progress};
use crate::server::{STOP_MAX, Server, ServerConfig};
use crate::shim::{CALLS, Fault, FaultKind, SCOPES, Shim};

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
/// One point in this many stalls, because each takes as long as the watchdog waits.
const STALLS: u32 = 40;
/// Acknowledged requests of a load.
const LOAD: usize = 40;
/// Calls beyond this number are like earlier ones.
const NTH_MAX: i64 = 120;

/// How often each kind of call is made until the server serves, and after that.
struct CallCounts(Vec<(usize, usize, [i64; 2])>);

fn run(case: &mut Case<'_>) -> Result {
    // Every run has these points.
    let fixed = match case.index {
        2 => Some(
            stalls::stalled_projection(case)
                .map_err(|error| format!("stalled projection: {error}"))?,
        ),
        3 | 4 => {
            let what = stalls::stalled_snapshot(case, case.index == 4);
            Some(what.map_err(|error| format!("stalled snapshot: {error}"))?)
        }
        5 => Some(stalls::stalled_log(case).map_err(|error| format!("stalled log: {error}"))?),
        _ => None,
    };
    if let Some(what) = fixed {
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
            // The directory is created while calls fail.
            let _ = std::fs::remove_dir_all(config.data());
            case.count_checks(&mut ledger);
            ledger = Ledger::default();
        } else if point > 0 && point % 5 == 0 {
            existing = CallCounts::take(case, &config, &shim, &mut ledger)?;
        }
        let counts = if is_fresh { &fresh } else { &existing };
        let (fault, at_start) = match (case.index, point) {
            // Every run has a sync that hangs under load, and one that hangs while the log opens.
            (0, 0) => (Fault::in_journal("fdatasync", 5, FaultKind::Stall, true), false),
            (1, 0) => (Fault::in_journal("fdatasync", 1, FaultKind::Stall, true), true),
            _ => counts.choose(&mut case.random),
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
            None => case.note("points that were not reached"),
        }
    }
    case.count_checks(&mut ledger);
    Ok(())
}

impl CallCounts {
    /// Counts the calls of a start, a load and a stop without a fault.
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
        load::until_acknowledged(ledger, server.client(), &mut case.random, LOAD)?;
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
        // Calls that acknowledgements depend on are tried more often.
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
        // A hanging write must be noticed; a hanging read only leaves its caller without an answer.
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

/// Injects one fault, and starts the server without it afterwards. Returns how the fault ended, or
/// `None` when the call was never made.
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
    let end = if let Some(exit) = server.wait_until_serving(STOP_MAX)? {
        exit.explanation()?;
        "refused to start"
    } else {
        if !at_start {
            shim.arm(fault)?;
        }
        under_fault(case, server, shim, ledger)?
    };
    let was_hit = shim.hits()? > 0;
    shim.disarm()?;
    let server = config.serve()?;
    ledger.check(server.client(), &mut case.random)?;
    server.stop()?;
    Ok(was_hit.then_some(end))
}

/// Loads a server while its calls fail. Returns how it ended.
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
    // It may have stopped in the meantime.
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
    // A fault during the stop must be explained, too.
    if !exit.status.success() {
        exit.explanation()?;
        return Ok("went on, and its stop failed");
    }
    Ok("went on, and was stopped")
}

/// Waits until enough is acknowledged, or the load makes no progress.
fn load_until_hit(progress: &Progress, shim: &Shim) -> Result {
    let deadline = Instant::now() + STOP_MAX;
    let mut acknowledged = 0;
    while progress.is_running() && acknowledged < LOAD && Instant::now() < deadline {
        acknowledged += 1;
        progress.until(acknowledged, Duration::from_millis(500));
        // Only refusals: the fault has had its effect.
        let refused = ["storage-failed", "disk-full", "behind", "ids-not-ready"];
        if shim.hits()? > 0 && refused.iter().any(|code| progress.refused(code) > 50) {
            break;
        }
    }
    Ok(())
}

/// Whether the server stopped by itself. After a failure of its storage it must; if it reports to
/// be well it may go on.
fn stopped_by_itself(server: &mut Server, shim: &Shim) -> Result<bool> {
    if shim.hits()? == 0 {
        return server.has_exited();
    }
    let deadline = Instant::now() + STOP_MAX;
    while !server.has_exited()? {
        let Ok(answer) = server.client().get("/readyz") else {
            // It is stopping, and must be gone soon.
            ensure!(Instant::now() < deadline, "the server neither answers nor stops");
            thread::park_timeout(Duration::from_millis(5));
            continue;
        };
        if answer.code() != "storage-failed" && answer.code() != "shutting-down" {
            return Ok(false);
        }
        ensure!(Instant::now() < deadline, "storage failed, and the server does not stop");
        thread::park_timeout(Duration::from_millis(5));
    }
    Ok(true)
}

//! What stands still, for one of its calls does not return.
//!
//! A history: inserts go on up to `BROKER_MAX_PROJECTION_LAG`, and then they are refused with 503
//! `behind`; memory does not grow, the metric says how far the history is behind, and what needs no
//! history is answered. A checkpoint: inserts and reads go on, and a server that is told to end
//! does. The log: one that fails in the end, while the server stops, is told.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::campaign::Case;
use crate::http::Client;
use crate::ledger::{Ledger, Request};
use crate::server::{STOP_MAX, ServerConfig};
use crate::shim::{CALLS, Fault, FaultKind, Shim};
use crate::{Result, ensure};

const LAG_MAX: u64 = 100;
/// What a turn that began below the bound may have taken.
const OVERSHOOT_MAX: u64 = 10;
/// Some more than the bound: nothing is applied.
const ACCEPTED_MAX: usize = 120;
/// Requests that are refused before memory is looked at: what a server keeps for the next one.
const REFUSED_BEFORE: usize = 2_000;
/// Requests that are refused while it is.
const REFUSED: usize = 10_000;
/// A fifth of what the queue reckons for as many of the smallest inserts.
const GROWTH_KIB_MAX: u64 = 1_024;

/// Inserts while a checkpoint hangs: too few for another segment, which is synced as it is.
const INSERTS_DURING: usize = 100;

/// A checkpoint is looked for twice a second.
const SNAPSHOT_MAX: Duration = Duration::from_secs(60);

/// Counts as one point of the campaign of faults. Only the checkpoint hangs, or the mark at the end
/// does, too.
pub fn stalled_snapshot(case: &mut Case<'_>, sticky: bool) -> Result<&'static str> {
    let dir = case.dir.join(if sticky { "checkpoint-and-mark" } else { "checkpoint" });
    fs::create_dir(&dir)?;
    let shim = Shim::new(case.tools, &dir)?;
    let config = ServerConfig { snapshot_bytes: "4KiB", ..ServerConfig::new(&dir) }.with(&shim);
    let mut ledger = Ledger::default();
    let mut server = config.serve()?;
    // Appends use another call.
    shim.arm(stall("fsync", sticky)?)?;
    let deadline = Instant::now() + SNAPSHOT_MAX;
    while shim.hits()? == 0 {
        ensure!(Instant::now() < deadline, "no checkpoint is written");
        let code = insert(case, server.client(), &mut ledger)?;
        ensure!(code.is_none(), "before a checkpoint hangs: {code:?}");
        thread::park_timeout(Duration::from_millis(5));
    }
    for _ in 0..INSERTS_DURING {
        let code = insert(case, server.client(), &mut ledger)?;
        ensure!(code.is_none(), "while a checkpoint hangs: {code:?}");
    }
    ledger.check(server.client(), &mut case.random)?;
    server.signal(Signal::TERM)?;
    let exit = server.wait_for_exit(STOP_MAX)?;
    ensure!(exit.status.success(), "a stop ends badly: {exit:?}");
    shim.disarm()?;
    let server = config.serve()?;
    ledger.check(server.client(), &mut case.random)?;
    case.count_checks(&mut ledger);
    server.stop()?;
    Ok("a checkpoint that hangs: inserted and read beside it, and stopped")
}

/// Counts as one point, too.
pub fn stalled_log(case: &mut Case<'_>) -> Result<&'static str> {
    let dir = case.dir.join("log");
    fs::create_dir(&dir)?;
    let shim = Shim::new(case.tools, &dir)?;
    let config = ServerConfig::new(&dir).with(&shim);
    let mut ledger = Ledger::default();
    let mut server = config.serve()?;
    let client = server.client();
    shim.arm(stall("fdatasync", true)?)?;
    // With an id, so that no thread which answers others appends it.
    let mut request = loop {
        let request = Request::plain(&mut case.random, "e.0");
        if request.is_safe_to_retry() {
            break request;
        }
    };
    let body = request.body();
    let asked = thread::spawn(move || client.insert(&body));
    until(|| Ok(shim.hits()? > 0))?;
    server.signal(Signal::TERM)?;
    until(|| Ok(client.get("/readyz").map_or(true, |answer| answer.code() == "shutting-down")))?;
    shim.release(FaultKind::Eio)?;
    server.wait_for_exit(STOP_MAX)?.explanation()?;
    if let Ok(answer) = asked.join().map_err(|_| "the one who asks panicked")? {
        ensure!(answer.status == 500, "a sync failed, and the insert is answered {answer:?}");
        request.record_answer(&answer)?;
    }
    ledger.requests.push(request);
    shim.disarm()?;
    let server = config.serve()?;
    ledger.check(server.client(), &mut case.random)?;
    case.count_checks(&mut ledger);
    server.stop()?;
    Ok("a log that failed while the server stopped: told")
}

fn until(mut is_so: impl FnMut() -> Result<bool>) -> Result {
    let deadline = Instant::now() + STOP_MAX;
    while !is_so()? {
        ensure!(Instant::now() < deadline, "it does not come to that");
        thread::park_timeout(Duration::from_millis(5));
    }
    Ok(())
}

fn stall(call: &str, sticky: bool) -> Result<Fault> {
    let call = CALLS.iter().position(|name| *name == call).ok_or("it is wrapped")?;
    Ok(Fault { call, scope: 0, nth: 1, kind: FaultKind::Stall, sticky })
}

/// Counts as one point, too.
pub fn stalled_history(case: &mut Case<'_>) -> Result<&'static str> {
    let dir = case.dir.join("still");
    fs::create_dir(&dir)?;
    let shim = Shim::new(case.tools, &dir)?;
    let config = ServerConfig { max_projection_lag: "100", ..ServerConfig::new(&dir) }.with(&shim);
    let mut ledger = Ledger::default();
    let server = config.serve()?;
    let client = server.client();
    shim.arm(stall("pread", false)?)?;
    let mut accepted = 0;
    while insert(case, client, &mut ledger)?.is_none() {
        accepted += 1;
        ensure!(accepted < ACCEPTED_MAX, "nobody is told to wait");
    }
    let mut before = 0;
    for n in 0..REFUSED_BEFORE + REFUSED {
        if n == REFUSED_BEFORE {
            before = resident_kib(server.pid())?;
        }
        let code = insert(case, client, &mut ledger)?;
        ensure!(code.as_deref() == Some("503 behind"), "past the bound: {code:?}");
    }
    let grown = resident_kib(server.pid())?.saturating_sub(before);
    ensure!(grown <= GROWTH_KIB_MAX, "{REFUSED} refused inserts took {grown} KiB");
    let behind = lag(client)?;
    let bound = LAG_MAX..=LAG_MAX + OVERSHOOT_MAX;
    ensure!(bound.contains(&behind), "after {accepted} inserts the metric says {behind}");
    ledger.check_under_fault(client)?;
    server.kill()?;
    shim.disarm()?;
    let server = config.serve()?;
    ledger.check(server.client(), &mut case.random)?;
    ensure!(lag(server.client())? == 0, "the history is at the head, and the metric is not");
    case.count_checks(&mut ledger);
    server.stop()?;
    Ok("a history that stands still: refused past the bound, in the same memory")
}

/// One insert; how it was refused.
fn insert(case: &mut Case<'_>, client: Client, ledger: &mut Ledger) -> Result<Option<String>> {
    let mut request = Request::plain(&mut case.random, "e.0");
    // An id that is chosen is looked up in the history. Large values leave buffers behind.
    let insert = &mut request.inserts[0];
    (insert.id, insert.data) = (None, format!("{{\"t\":\"{}\"}}", insert.tag));
    let answer = client.insert(&request.body())?;
    request.record_answer(&answer)?;
    ledger.requests.push(request);
    let refused = answer.status != 201;
    Ok(refused.then(|| format!("{} {}", answer.status, answer.code())))
}

fn lag(client: Client) -> Result<u64> {
    let metrics = client.get("/metrics")?.body;
    let value = metrics.lines().find_map(|line| line.strip_prefix("broker_projection_lag "));
    Ok(value.ok_or("there is such a metric")?.trim().parse()?)
}

/// Memory of a process that is in memory.
fn resident_kib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("Linux says so")?.parse()?)
}

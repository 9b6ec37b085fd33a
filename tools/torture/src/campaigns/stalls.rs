//! Calls that never return.
//!
//! - In the projection: inserts go on up to `BROKER_MAX_PROJECTION_LAG` and are then refused with
//!   503 `behind`; memory does not grow, the metric tells the lag, and reads without the projection
//!   are answered.
//! - In a snapshot: inserts and reads go on, and the server can be stopped.
//! - In the log, until it fails during a stop: the server explains it.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use broker_tools::process::resident_memory;
use broker_tools::{Result, ensure};
use rustix::process::Signal;

use crate::campaign::Case;
use crate::http::Client;
use crate::ledger::{Ledger, Request};
use crate::server::{STOP_MAX, ServerConfig};
use crate::shim::{Fault, FaultKind, Shim};

const LAG_MAX: u64 = 100;
/// An append that started below the bound may exceed it by this much.
const OVERSHOOT_MAX: u64 = 10;
/// A few more than the bound, because nothing is applied.
const ACCEPTED_MAX: usize = 120;
/// Refusals before memory is measured, for buffers that the server keeps.
const REFUSED_BEFORE: usize = 2_000;
/// Refusals while memory is measured.
const REFUSED: usize = 10_000;
/// A fifth of what the queue would count for as many of the smallest inserts.
const GROWTH_BYTES_MAX: f64 = 1_024.0 * 1_024.0;

/// Inserts while a snapshot hangs: too few for a new segment, which is synced with the same call.
const INSERTS_DURING: usize = 100;

/// The server looks twice a second whether a snapshot is due.
const SNAPSHOT_MAX: Duration = Duration::from_secs(60);

/// A snapshot that hangs; if `sticky`, the watermark at the end hangs too. Counts as one point.
pub fn stalled_snapshot(case: &mut Case<'_>, sticky: bool) -> Result<&'static str> {
    let dir = case.dir.join(if sticky { "snapshot-and-watermark" } else { "snapshot" });
    fs::create_dir(&dir)?;
    let shim = Shim::new(case.tools, &dir)?;
    let config = ServerConfig { snapshot_bytes: "4KiB", ..ServerConfig::new(&dir) }.with(&shim);
    let mut ledger = Ledger::default();
    let mut server = config.serve()?;
    // Appends sync with another call.
    shim.arm(Fault::in_journal("fsync", 1, FaultKind::Stall, sticky))?;
    let deadline = Instant::now() + SNAPSHOT_MAX;
    while shim.hits()? == 0 {
        ensure!(Instant::now() < deadline, "no snapshot is written");
        let code = insert(case, server.client(), &mut ledger)?;
        ensure!(code.is_none(), "before a snapshot hangs: {code:?}");
        thread::park_timeout(Duration::from_millis(5));
    }
    for _ in 0..INSERTS_DURING {
        let code = insert(case, server.client(), &mut ledger)?;
        ensure!(code.is_none(), "while a snapshot hangs: {code:?}");
    }
    ledger.check(server.client(), &mut case.random)?;
    server.signal(Signal::TERM)?;
    let exit = server.wait_for_exit(STOP_MAX)?;
    ensure!(exit.status.success(), "a stop failed: {exit:?}");
    shim.disarm()?;
    let server = config.serve()?;
    ledger.check(server.client(), &mut case.random)?;
    case.count_checks(&mut ledger);
    server.stop()?;
    Ok("a snapshot that hangs: inserts, reads and a stop succeeded")
}

/// A sync of the log that hangs, and fails during a stop. Counts as one point.
pub fn stalled_log(case: &mut Case<'_>) -> Result<&'static str> {
    let dir = case.dir.join("log");
    fs::create_dir(&dir)?;
    let shim = Shim::new(case.tools, &dir)?;
    let config = ServerConfig::new(&dir).with(&shim);
    let mut ledger = Ledger::default();
    let mut server = config.serve()?;
    let client = server.client();
    shim.arm(Fault::in_journal("fdatasync", 1, FaultKind::Stall, true))?;
    // With an id, so that it is not appended on a thread that answers requests.
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
    if let Ok(answer) = asked.join().map_err(|_| "the inserting thread panicked")? {
        ensure!(answer.status == 500, "a sync failed, and the insert got {answer:?}");
        request.record_answer(&answer)?;
    }
    ledger.requests.push(request);
    shim.disarm()?;
    let server = config.serve()?;
    ledger.check(server.client(), &mut case.random)?;
    case.count_checks(&mut ledger);
    server.stop()?;
    Ok("a log that failed during a stop: explained")
}

fn until(mut is_so: impl FnMut() -> Result<bool>) -> Result {
    let deadline = Instant::now() + STOP_MAX;
    while !is_so()? {
        ensure!(Instant::now() < deadline, "the expected state is not reached");
        thread::park_timeout(Duration::from_millis(5));
    }
    Ok(())
}

/// A projection that hangs. Counts as one point.
pub fn stalled_projection(case: &mut Case<'_>) -> Result<&'static str> {
    let dir = case.dir.join("projection");
    fs::create_dir(&dir)?;
    let shim = Shim::new(case.tools, &dir)?;
    let config = ServerConfig { max_projection_lag: "100", ..ServerConfig::new(&dir) }.with(&shim);
    let mut ledger = Ledger::default();
    let server = config.serve()?;
    let client = server.client();
    shim.arm(Fault::in_journal("pread", 1, FaultKind::Stall, false))?;
    let mut accepted = 0;
    while insert(case, client, &mut ledger)?.is_none() {
        accepted += 1;
        ensure!(accepted < ACCEPTED_MAX, "no insert is refused");
    }
    let mut before = 0.0;
    for n in 0..REFUSED_BEFORE + REFUSED {
        if n == REFUSED_BEFORE {
            before = resident_memory(server.pid())?;
        }
        let code = insert(case, client, &mut ledger)?;
        ensure!(code.as_deref() == Some("503 behind"), "beyond the bound: {code:?}");
    }
    let grown = resident_memory(server.pid())? - before;
    ensure!(grown <= GROWTH_BYTES_MAX, "{REFUSED} refused inserts took {grown} bytes");
    let behind = lag(client)?;
    let bound = LAG_MAX..=LAG_MAX + OVERSHOOT_MAX;
    ensure!(bound.contains(&behind), "after {accepted} inserts the metric is {behind}");
    ledger.check_under_fault(client)?;
    server.kill()?;
    shim.disarm()?;
    let server = config.serve()?;
    ledger.check(server.client(), &mut case.random)?;
    ensure!(lag(server.client())? == 0, "the projection has caught up, but not the metric");
    case.count_checks(&mut ledger);
    server.stop()?;
    Ok("a projection that hangs: inserts beyond the bound refused, in constant memory")
}

/// Inserts once. Returns the status and code of a refusal.
fn insert(case: &mut Case<'_>, client: Client, ledger: &mut Ledger) -> Result<Option<String>> {
    let mut request = Request::plain(&mut case.random, "e.0");
    // Ids are looked up in the projection, and large values leave buffers behind.
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
    Ok(value.ok_or("the metric is missing")?.trim().parse()?)
}

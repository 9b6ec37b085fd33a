//! CPU time and latency of a delivery, with servers far from their limits.

use broker_tools::Result;
use broker_tools::report::{Goal, Report};
use broker_tools::scratch::Scratch;
use broker_tools::statistics::{quantile, ratios};
use broker_tools::synced_file::SyncedFile;

use crate::outcome::Outcome;
use crate::periodic::Periodic;
use crate::plan::{Pace, Plan};
use crate::protocol::ServerKind::{self, Bare, Broker, Nchan, Redis, WebSocket};
use crate::rounds::Rounds;
use crate::run::warm_up;
use crate::settings::Settings;
use crate::target::Target;

/// Subscribers, and values a second: 20,000 deliveries a second in both cases.
const CASES: [(usize, f64); 2] = [(1_000, 20.0), (10_000, 2.0)];
/// More syncs than a run has.
const SYNCS_MAX: usize = 10_000;

/// Microseconds of CPU for a delivery. The engineering facts have 4.2 for a bare loop, whose
/// sockets sleep between two values, 5.0 for Redis, 7.2 for actix and 9.8 for nchan. Broker is
/// actix without the encoding, which is shared.
fn estimate_cpu_us(kind: ServerKind) -> f64 {
    match kind {
        Bare => 4.2,
        Broker | WebSocket => 6.5,
        Nchan => 9.8,
        Redis => 5.0,
    }
}

/// Milliseconds: the last subscriber waits until the server has written to all before it, half of
/// them on each of two workers, and until the subscribers have read as many, 1.5 us each, at the
/// same time. Broker adds a sync, of which one in a hundred takes 4 ms.
fn estimate_p99_ms(kind: ServerKind, count: usize) -> f64 {
    let sync_ms = if matches!(kind, Broker | WebSocket) { 4.0 } else { 0.0 };
    let workers = if matches!(kind, Broker | WebSocket | Nchan) { 2.0 } else { 1.0 };
    let writing_us =
        (estimate_cpu_us(kind) / workers).max(1.5) + if workers > 1.0 { 1.5 } else { 0.0 };
    count as f64 * writing_us / 1e3 + sync_ms
}

/// Measures and reports.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    if let Some(count) = settings.subscriber_count {
        return measure(count, CASES[0].1, settings, report);
    }
    CASES.iter().try_for_each(|(count, rate)| measure(*count, *rate, settings, report))
}

fn measure(count: usize, per_second: f64, settings: &Settings, report: &mut Report) -> Result<()> {
    let bench = format!("rate {count}");
    let mut syncs_ms = Vec::new();
    let rounds = Rounds::measure(bench.clone(), settings, &ServerKind::ALL, |kind| {
        let (target, mut subscribers) = Target::subscribed(kind, count)?;
        warm_up(count, &mut subscribers, &target)?;
        let plan = Plan::new(Pace::PerSecond(per_second), settings.duration * 2, count);
        if kind != Nchan {
            return plan.run(&mut subscribers, &target);
        }
        // nchan stores nothing, so syncs are measured during its run, for comparison.
        let scratch = Scratch::new()?;
        let mut synced_file = SyncedFile::new(&scratch.path().join("floor"), SYNCS_MAX)?;
        let syncs = Periodic::start(per_second, move || synced_file.append());
        let outcome = plan.run(&mut subscribers, &target)?;
        syncs_ms.push(quantile(&syncs.end()?, 0.99) / 1e3);
        Ok(outcome)
    })?;
    for kind in ServerKind::ALL {
        let cpu = rounds.add(report, kind, "CPU a delivery", "us", Outcome::cpu_us);
        cpu.estimate(estimate_cpu_us(kind));
        rounds.add(report, kind, "latency p50", "ms", Outcome::p50_ms);
        let p99 = rounds.add(report, kind, "latency p99", "ms", Outcome::p99_ms);
        p99.estimate(estimate_p99_ms(kind, count));
        rounds.add_completeness(report, kind);
    }
    let cpu = rounds.ratio(report, [Broker, Nchan], "CPU a delivery", Outcome::cpu_us);
    if per_second > 2.0 {
        cpu.goal(Goal::AtMost(0.7));
    }
    rounds.ratio(report, [Broker, Bare], "CPU a delivery", Outcome::cpu_us);
    add_latency_ratio(&bench, &rounds, &syncs_ms, report);
    Ok(())
}

/// Compares Broker's p99 with the sum of nchan's and that of a sync.
fn add_latency_ratio(bench: &str, rounds: &Rounds, syncs_ms: &[f64], report: &mut Report) {
    let [broker, nchan] = [Broker, Nchan].map(|kind| rounds.values(kind, Outcome::p99_ms));
    let (Some(broker), Some(nchan)) = (broker, nchan) else { return };
    report.add(bench, "append and sync p99, during nchan", "ms", syncs_ms).estimate(4.0);
    let allowed: Vec<_> = nchan.iter().zip(syncs_ms).map(|(nchan, sync)| nchan + sync).collect();
    let ratio = ratios(&broker, &allowed);
    let figure = report.add(bench, "broker / (nchan + sync), latency p99", "x", &ratio);
    figure.goal(Goal::AtMost(1.0));
}

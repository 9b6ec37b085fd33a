//! WebSockets and event streams at the same rate: each alone, then both.

use broker_tools::Result;
use broker_tools::report::{Goal, Report};
use broker_tools::statistics::ratios;

use crate::outcome::Outcome;
use crate::plan::{EVENT, Pace, Plan};
use crate::protocol::ServerKind::{self, Broker, WebSocket};
use crate::settings::Settings;
use crate::subscribers::{Clients, Subscribers};
use crate::target::Target;

const SUBSCRIBERS: usize = 1_000;
const PER_SECOND: f64 = 20.0;

/// The subscribers, and the estimated microseconds of CPU for a delivery: a WebSocket has a frame's
/// head of 4 bytes instead of a chunk's of 5, and an object around the record, encoded once for
/// each selector.
const CASES: [(&str, &[ServerKind], f64); 3] = [
    ("streams", &[Broker], 6.5),
    ("sockets", &[WebSocket], 7.0),
    ("both", &[Broker, WebSocket], 6.7),
];

/// Measures and reports.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let mut outcomes: [Vec<Outcome>; CASES.len()] = Default::default();
    for _ in 0..settings.runs {
        for ((_, kinds, _), outcomes) in CASES.iter().zip(&mut outcomes) {
            outcomes.push(deliver(kinds, settings)?);
        }
    }
    for ((name, _, estimate_us), outcomes) in CASES.iter().zip(&outcomes) {
        let runs = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).collect::<Vec<_>>();
        let bench = "sockets";
        let cpu =
            report.add(bench, format!("{name}, CPU a delivery"), "us", &runs(Outcome::cpu_us));
        cpu.estimate(*estimate_us);
        report.add(bench, format!("{name}, latency p99"), "ms", &runs(Outcome::p99_ms));
        let wrong = runs(|outcome| outcome.incomplete as f64);
        let wrong = report.add(bench, format!("{name}, with wrong values"), "", &wrong);
        wrong.goal(Goal::AtMost(0.0));
    }
    let [streams, sockets, _] = &outcomes;
    let [sockets, streams] =
        [sockets, streams].map(|runs| runs.iter().map(Outcome::cpu_us).collect::<Vec<_>>());
    let ratio = ratios(&sockets, &streams);
    report.add("sockets", "sockets / streams, CPU a delivery", "x", &ratio).estimate(1.1);
    Ok(())
}

fn deliver(kinds: &[ServerKind], settings: &Settings) -> Result<Outcome> {
    let count = settings.subscriber_count.unwrap_or(SUBSCRIBERS);
    let target = Target::start(Broker)?;
    let mut subscribers = Subscribers::new()?;
    for kind in kinds {
        let clients = Clients { handshake: kind.handshake(), ..target.clients(count) };
        subscribers.connect(&clients, |_| kind.subscribe(EVENT))?;
    }
    let (pace, listeners) = (Pace::PerSecond(PER_SECOND), subscribers.len());
    Plan::new(pace, settings.duration * 2, listeners).run(&mut subscribers, &target)
}

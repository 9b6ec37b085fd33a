//! Memory of an idle subscriber.

use broker_tools::Result;
use broker_tools::report::{Goal, Report};

use crate::plan::EVENT;
use crate::protocol::ServerKind::{self, Broker, Nchan, Redis};
use crate::rounds::Rounds;
use crate::run::warm_up;
use crate::settings::Settings;
use crate::target::Target;

const SUBSCRIBERS: usize = 10_000;
/// The first subscribers allocate what all share.
const FIRST: usize = 100;
/// nchan's memory when the goals were set.
const GOAL_KB: f64 = 10.2;

/// KB. actix has read and write buffers of 8 KiB, partly touched, and 2 KB of tasks and timers; the
/// stream's position, selector and waker take less than 1 KB. nchan is others' measurement. A Redis
/// client has a struct of 1 KB and a reply buffer of 16 KiB, which shrinks to 1 KiB.
fn estimate(kind: ServerKind) -> f64 {
    match kind {
        Nchan => 10.2,
        Redis => 4.0,
        _ => 11.0,
    }
}

/// Measured when connected and after a delivery, which leaves some memory allocated.
const STAGES: [&str; 2] = ["memory a subscriber, connected", "the same, after a delivery"];

/// Measures and reports.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let count = settings.subscriber_count.unwrap_or(SUBSCRIBERS);
    let kinds = [Broker, Nchan, Redis];
    let rounds = Rounds::measure("idle".to_owned(), settings, &kinds, |kind| {
        let (target, mut subscribers) = Target::subscribed(kind, FIRST)?;
        warm_up(FIRST, &mut subscribers, &target)?;
        let before = target.server.memory()?;
        subscribers.connect(&target.clients(count), |_| kind.subscribe(EVENT))?;
        let connected = target.server.memory()? - before;
        warm_up(FIRST + count, &mut subscribers, &target)?;
        let after_a_delivery = target.server.memory()? - before;
        let each = |bytes: f64| bytes / 1e3 / count as f64;
        Ok([connected, after_a_delivery].map(each))
    })?;
    for kind in kinds {
        for (stage, what) in STAGES.iter().enumerate() {
            let figure = rounds.add(report, kind, what, "KB", |memory| memory[stage]);
            let figure = figure.estimate(estimate(kind));
            if kind == Broker {
                figure.goal(Goal::AtMost(GOAL_KB));
            }
        }
    }
    rounds.ratio(report, [Broker, Nchan], "memory", |memory| memory[1]);
    Ok(())
}

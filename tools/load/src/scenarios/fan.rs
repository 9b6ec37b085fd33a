//! Maximum deliveries a second, with 8 values in flight.

use broker_tools::Result;
use broker_tools::report::{Goal, Report};

use crate::outcome::Outcome;
use crate::plan::{Pace, Plan};
use crate::protocol::ServerKind::{self, Bare, Broker, Nchan, Redis};
use crate::rounds::Rounds;
use crate::run::warm_up;
use crate::settings::Settings;
use crate::target::Target;

const SUBSCRIBERS: [usize; 2] = [1_000, 10_000];
const IN_FLIGHT: usize = 8;

/// The bare loop takes 2.9 us of one processor for each woken socket, and the subscribers read on
/// the other, 1 to 1.5 us for each: 1,000,000 / 2.9 = 345,000, less what context switches take.
/// nchan and Redis are others' measurements on two processors: 170,000 and 420,000, and to 10,000
/// subscribers, whose sockets exceed the caches, 140,000 and 250,000.
fn estimate(kind: ServerKind, count: usize) -> f64 {
    let many = count > 1_000;
    match kind {
        Bare => 300_000.0,
        // Two workers share the writes, and one processor with the subscribers. With eight values
        // in flight, two or three wait for each subscriber and are sent in one write.
        Broker | ServerKind::WebSocket => {
            if many {
                500_000.0
            } else {
                370_000.0
            }
        }
        Nchan => {
            if many {
                140_000.0
            } else {
                170_000.0
            }
        }
        Redis => {
            if many {
                250_000.0
            } else {
                420_000.0
            }
        }
    }
}

/// Microseconds of CPU: 2.9 for the socket, and what each server adds. 5.4 for nchan and 2.0 for
/// Redis, which joins values, are others' measurements.
fn estimate_cpu_us(kind: ServerKind) -> f64 {
    match kind {
        Bare => 3.0,
        Broker | ServerKind::WebSocket => 2.5,
        Nchan => 5.4,
        Redis => 2.0,
    }
}

/// Measures and reports.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    match settings.subscriber_count {
        Some(count) => measure(count, settings, report),
        None => SUBSCRIBERS.iter().try_for_each(|count| measure(*count, settings, report)),
    }
}

fn measure(count: usize, settings: &Settings, report: &mut Report) -> Result<()> {
    let bench = format!("fan {count}");
    let rounds = Rounds::measure(bench, settings, &ServerKind::ALL, |kind| {
        let (target, mut subscribers) = Target::subscribed(kind, count)?;
        warm_up(count, &mut subscribers, &target)?;
        let pace = Pace::InFlight(IN_FLIGHT);
        let plan = Plan::new(pace, settings.duration, count);
        let undelivered_max = settings.undelivered_max;
        Plan { undelivered_max, ..plan }.run(&mut subscribers, &target)
    })?;
    for kind in ServerKind::ALL {
        let per_second = rounds.add(report, kind, "deliveries", "/s", Outcome::per_second);
        per_second.estimate(estimate(kind, count));
        let cpu = rounds.add(report, kind, "CPU a delivery", "us", Outcome::cpu_us);
        cpu.estimate(estimate_cpu_us(kind));
        rounds.add(report, kind, "subscribers' CPU a delivery", "us", Outcome::own_cpu_us);
        rounds.add(report, kind, "latency p50", "ms", Outcome::p50_ms);
        rounds.add(report, kind, "latency p99", "ms", Outcome::p99_ms);
        rounds.add_completeness(report, kind);
    }
    let at_least = if count > 1_000 { 3.0 } else { 2.2 };
    let of_nchan = rounds.ratio(report, [Broker, Nchan], "deliveries", Outcome::per_second);
    of_nchan.goal(Goal::AtLeast(at_least));
    let of_redis = rounds.ratio(report, [Broker, Redis], "deliveries", Outcome::per_second);
    if count <= 1_000 {
        of_redis.goal(Goal::AtLeast(1.0));
    }
    rounds.ratio(report, [Broker, Bare], "deliveries", Outcome::per_second);
    Ok(())
}

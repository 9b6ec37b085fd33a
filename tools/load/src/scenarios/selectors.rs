//! Ten thousand subscribers that each select another event as well, compared with as many that all
//! select the same.

use broker_tools::Result;
use broker_tools::report::{Goal, Report};
use broker_tools::statistics::ratios;

use crate::outcome::Outcome;
use crate::plan::{EVENT, Pace, Plan};
use crate::protocol::ServerKind::Broker;
use crate::settings::Settings;
use crate::subscribers::Subscribers;
use crate::target::Target;

const SUBSCRIBERS: usize = 10_000;
const IN_FLIGHT: usize = 8;

/// A selector of its own costs each subscriber a look-up of what matches, and an id line, which
/// takes 0.2 us of 2.
const ESTIMATE_RATIO: f64 = 0.9;

/// Measures and reports.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let (mut one, mut own) = (Vec::new(), Vec::new());
    for _ in 0..settings.runs {
        one.push(deliver(settings, |_| 0)?);
        own.push(deliver(settings, |index| index)?);
    }
    let per_second =
        |outcomes: &[Outcome]| outcomes.iter().map(Outcome::per_second).collect::<Vec<_>>();
    let (one_per_second, own_per_second) = (per_second(&one), per_second(&own));
    let missing: Vec<_> = one.iter().chain(&own).map(Outcome::missing_percent).collect();
    let bench = "selectors";
    report.add(bench, "broker, one selector, deliveries", "/s", &one_per_second);
    report.add(bench, "broker, distinct selectors, deliveries", "/s", &own_per_second);
    let missing = report.add(bench, "broker, deliveries missing", "%", &missing);
    missing.goal(Goal::AtMost(0.0));
    let ratio = report.add(
        bench,
        "broker, distinct selectors / one",
        "x",
        &ratios(&own_per_second, &one_per_second),
    );
    ratio.estimate(ESTIMATE_RATIO).goal(Goal::AtLeast(0.8));
    Ok(())
}

/// Each subscriber selects the event and one that is never published.
fn deliver(settings: &Settings, own: impl Fn(usize) -> usize) -> Result<Outcome> {
    let count = settings.subscriber_count.unwrap_or(SUBSCRIBERS);
    let target = Target::start(Broker)?;
    let mut subscribers = Subscribers::new()?;
    let request = |index| Broker.subscribe(&format!("{EVENT},own.{:05}", own(index)));
    subscribers.connect(&target.clients(count), request)?;
    let pace = Pace::InFlight(IN_FLIGHT);
    Plan::new(pace, settings.duration, count).run(&mut subscribers, &target)
}

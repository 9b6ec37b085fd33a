//! Whether subscribers of other events slow down inserts.

use broker_tools::Result;
use broker_tools::report::{Goal, Report};
use broker_tools::statistics::{quantile, ratios};

use crate::plan::{Pace, Plan};
use crate::protocol::ServerKind::Broker;
use crate::settings::Settings;
use crate::subscribers::Subscribers;
use crate::target::Target;

const SUBSCRIBERS: usize = 1_000;
const CONNECTIONS: usize = 64;
const OTHER_EVENT: &str = "load.cold";

/// As in broker-bench's burst, whose load does the same: 60,000.
const ESTIMATE_PER_SECOND: f64 = 50_000.0;
/// A selector that does not match costs one look-up in a table for each group.
const ESTIMATE_RATIO: f64 = 0.99;

/// Measures and reports.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let (mut without, mut with, mut p99) = (vec![], vec![], vec![]);
    for _ in 0..settings.runs {
        let [alone, _] = inserts(0, settings)?;
        let [subscribed, p99_with] =
            inserts(settings.subscriber_count.unwrap_or(SUBSCRIBERS), settings)?;
        without.push(alone);
        with.push(subscribed);
        p99.push(p99_with);
    }
    let bench = "inserts";
    let figure = report.add(bench, "broker, inserts, nobody listens", "/s", &without);
    figure.estimate(ESTIMATE_PER_SECOND);
    let figure = report.add(bench, "broker, inserts, listeners elsewhere", "/s", &with);
    figure.estimate(ESTIMATE_PER_SECOND * ESTIMATE_RATIO);
    report.add(bench, "broker, inserts, listeners elsewhere, p99", "ms", &p99);
    let ratio =
        report.add(bench, "broker, with listeners / without", "x", &ratios(&with, &without));
    ratio.estimate(ESTIMATE_RATIO).goal(Goal::AtLeast(0.9));
    Ok(())
}

/// Acknowledged inserts a second, and their 99th percentile in milliseconds.
fn inserts(listeners_elsewhere: usize, settings: &Settings) -> Result<[f64; 2]> {
    let target = Target::start(Broker)?;
    let mut subscribers = Subscribers::new()?;
    subscribers.connect(&target.clients(listeners_elsewhere), |_| Broker.subscribe(OTHER_EVENT))?;
    let pace = Pace::InFlight(CONNECTIONS);
    let outcome = Plan::new(pace, settings.duration, 0).run(&mut subscribers, &target)?;
    Ok([f64::from(outcome.published) / outcome.seconds, quantile(&outcome.answers_us, 0.99) / 1e3])
}

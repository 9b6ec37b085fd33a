//! Ten thousand clients connect at the same time, to a server with one value for them.

use std::time::Instant;

use broker_tools::Result;
use broker_tools::report::{Goal, Report};

use crate::plan::EVENT;
use crate::protocol::ServerKind::{Broker, Nchan};
use crate::rounds::Rounds;
use crate::run::warm_up;
use crate::settings::Settings;
use crate::subscribers::{Clients, Subscribers};
use crate::target::{FirstMessage, Target};

const SUBSCRIBERS: usize = 10_000;

/// Seconds. The server takes 30 us to accept and read, 20 for a stream's head and two blocks, and
/// 10 for the poll, on two processors of which the subscribers take half: 10,000 x 60 us. nchan
/// creates a subscriber faster, but its second worker asks the first for the channel.
const ESTIMATE: f64 = 0.6;

/// Measures and reports.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let count = settings.subscriber_count.unwrap_or(SUBSCRIBERS);
    // The floor and Redis keep no value for later subscribers.
    let kinds = [Broker, Nchan];
    let rounds = Rounds::measure("connect".to_owned(), settings, &kinds, |kind| {
        let target = Target::start_with(kind, FirstMessage::Latest)?;
        let mut subscribers = Subscribers::new()?;
        warm_up(0, &mut subscribers, &target)?;
        let clients = Clients { first_values: 1, ..target.clients(count) };
        let started = Instant::now();
        subscribers.connect(&clients, |_| kind.subscribe(EVENT))?;
        Ok(started.elapsed().as_secs_f64())
    })?;
    for kind in kinds {
        let figure = rounds.add(report, kind, "until all have the value", "s", |seconds| *seconds);
        figure.estimate(ESTIMATE);
    }
    let ratio = rounds.ratio(report, [Broker, Nchan], "time", |seconds| *seconds);
    ratio.goal(Goal::AtMost(2.0));
    Ok(())
}

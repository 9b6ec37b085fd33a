//! Two thousand clients close their connections while nothing is inserted: how soon the server
//! notices.

use std::thread;
use std::time::{Duration, Instant};

use broker_tools::Result;
use broker_tools::report::{Goal, Report};

use crate::protocol::ServerKind::{Broker, Nchan};
use crate::rounds::Rounds;
use crate::settings::Settings;
use crate::target::Target;

const SUBSCRIBERS: usize = 2_000;
/// A server that has not noticed by now never will.
const WAIT_MAX: Duration = Duration::from_secs(20);
const POLL_EVERY: Duration = Duration::from_millis(5);

/// Seconds: a FIN wakes the connection, which either worker takes apart in 20 us.
const ESTIMATE: f64 = 0.03;

/// Measures and reports.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let count = settings.subscriber_count.unwrap_or(SUBSCRIBERS);
    let kinds = [Broker, Nchan];
    let rounds = Rounds::measure("leave".to_owned(), settings, &kinds, |kind| {
        let (target, mut subscribers) = Target::subscribed(kind, count)?;
        let without = target.server.descriptors()?.saturating_sub(count);
        let started = Instant::now();
        subscribers.disconnect();
        while target.server.descriptors()? > without {
            if started.elapsed() > WAIT_MAX {
                return Err(format!("descriptors are not back after {WAIT_MAX:?}").into());
            }
            thread::sleep(POLL_EVERY);
        }
        Ok(started.elapsed().as_secs_f64())
    })?;
    for kind in kinds {
        let figure = rounds.add(report, kind, "until descriptors are back", "s", |s| *s);
        let figure = figure.estimate(ESTIMATE);
        if kind == Broker {
            figure.goal(Goal::AtMost(3.0));
        }
    }
    Ok(())
}

//! First visits to a server that has much to tell: one of them, and a hundred at once.

use std::time::Instant;

use broker_bench::Result;
use broker_bench::report::{Goal, Report};

use crate::arguments::Settings;
use crate::crowd::{Crowd, Guests};
use crate::scenarios::fill;
use crate::speech::Kind::Broker;
use crate::target::Target;

const VALUES: usize = 10_000;
const VALUES_MANY: usize = 100_000;
const CLIENTS: usize = 100;
/// Of 10,000 values, in a run.
const READS: usize = 5;

/// A value is a block of 450 bytes, which costs 0.4 us to encode and three copies on each side of
/// the socket; broker-bench measured 830 MB/s for 100,000.
const ESTIMATE_MB_PER_SECOND: f64 = 600.0;
/// MB: a hundred clients of which each has at most a write buffer and some slices under way.
const ESTIMATE_MB: f64 = 20.0;
/// MB: a hundred times what one stalled reader may cost, 512 KiB.
const GOAL_MB: f64 = CLIENTS as f64 * 0.512 * 1.024;

/// Measures and reports.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let target = Target::start(Broker)?;
    let bench = "replay";
    fill(&target, 0..VALUES, |index| format!("replay.{index:06}"))?;
    let mut one = Vec::new();
    for _ in 0..settings.runs * READS {
        one.push(read(&target, 1, VALUES)?);
    }
    let figure = report.add(bench, "broker, 10,000 values to one", "MB/s", &one);
    figure.estimate(ESTIMATE_MB_PER_SECOND).goal(Goal::AtLeast(150.0));
    fill(&target, VALUES..VALUES_MANY, |index| format!("replay.{index:06}"))?;
    let (mut many, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..settings.runs {
        target.server.forget_memory_peak()?;
        let [_, before] = target.server.memory_peak()?;
        many.push(read(&target, CLIENTS, VALUES_MANY)?);
        let [peak, _] = target.server.memory_peak()?;
        memory.push((peak - before) / 1e6);
    }
    let figure = report.add(bench, "broker, 100,000 values to 100", "MB/s", &many);
    figure.estimate(ESTIMATE_MB_PER_SECOND);
    let figure = report.add(bench, "broker, most memory for that", "MB", &memory);
    figure.estimate(ESTIMATE_MB).goal(Goal::AtMost(GOAL_MB));
    Ok(())
}

/// MB a second, until every client has every value.
fn read(target: &Target, clients: usize, values: usize) -> Result<f64> {
    let mut crowd = Crowd::new()?;
    let guests = Guests { first_values: values as u32, ..target.guests(clients) };
    let started = Instant::now();
    crowd.join(&guests, |_| Broker.subscribe("replay.%3E"))?;
    Ok(crowd.heard.bytes as f64 / 1e6 / started.elapsed().as_secs_f64())
}

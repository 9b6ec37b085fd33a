//! A measured run. Values are published for a time, and a last one when all are acknowledged; the
//! run ends when all listeners have received that one, or nothing more arrives.

use std::time::Duration;

use broker_bench::Result;
use broker_bench::process::cpu;

use crate::publishers::{Pace, Publishers};
use crate::subscribers::Subscribers;
use crate::target::Target;
use crate::value::now;

/// A run ends when nothing arrives for this long.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// Default maximum of undelivered values. They are 30 KB a subscriber, a hundredth of Broker's
/// window, and fit every server's socket buffer.
pub const UNDELIVERED_MAX: usize = 64;
/// Maximum time between two checks of the clock.
const POLL_MAX: Duration = Duration::from_millis(100);

/// What is published.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// The name of the event.
    pub event: &'a str,
    /// How fast.
    pub pace: Pace,
    /// For how long.
    pub duration: Duration,
    /// Number of subscribers that listen to that event.
    pub listeners: usize,
    /// Maximum undelivered values of a subscriber while values are published as fast as they are
    /// acknowledged.
    ///
    /// Broker acknowledges durable values, even unread ones, so without this limit publishers would
    /// outrun subscribers until values are superseded, but deliveries of every value are counted.
    pub undelivered_max: usize,
}

/// The outcome of a run.
pub struct Outcome {
    /// Values published and acknowledged.
    pub published: u32,
    /// From the first value to the last delivery, or to the last answer when nobody listens.
    pub seconds: f64,
    /// Deliveries that were expected.
    pub expected: u64,
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Listeners that received wrong values, one twice, or not all.
    pub incomplete: usize,
    /// Listeners that did not receive the latest value.
    pub outdated: usize,
    /// From sending a value to receiving it, in microseconds, ascending.
    pub latencies_us: Vec<u32>,
    /// From sending a value to its acknowledgement, in microseconds, ascending.
    pub answers_us: Vec<u32>,
    /// CPU time of the server and its workers in seconds.
    pub cpu: f64,
    /// CPU time of this process in seconds.
    pub own_cpu: f64,
}

impl<'a> Plan<'a> {
    /// A plan with the default maximum of undelivered values.
    pub fn new(event: &'a str, pace: Pace, duration: Duration, listeners: usize) -> Self {
        Self { event, pace, duration, listeners, undelivered_max: UNDELIVERED_MAX }
    }

    /// Runs the plan.
    pub fn run(&self, subscribers: &mut Subscribers, target: &Target) -> Result<Outcome> {
        subscribers.reset();
        subscribers.received.is_timed = true;
        let mut publishers = Publishers::new(target, self);
        let (cpu_before, own_before) = (target.server.cpu()?, cpu(std::process::id())?);
        let started = now();
        self.publish(subscribers, &mut publishers, started)?;
        finish(subscribers, &mut publishers, self.listeners)?;
        let last_at = if self.listeners == 0 { now() } else { subscribers.received.last_at };
        let seconds = last_at.saturating_sub(started) as f64 / 1e9;
        let cpu_used = (target.server.cpu()? - cpu_before).as_secs_f64();
        let own_cpu = (cpu(std::process::id())? - own_before).as_secs_f64();
        subscribers.received.is_timed = false;
        let mut latencies_us = std::mem::take(&mut subscribers.received.latencies_us);
        let mut answers_us = std::mem::take(&mut publishers.answers_us);
        latencies_us.sort_unstable();
        answers_us.sort_unstable();
        // Subscribers of other events received nothing, and count as incomplete.
        let elsewhere = subscribers.len() - self.listeners;
        Ok(Outcome {
            published: publishers.sent,
            seconds,
            expected: u64::from(publishers.sent) * self.listeners as u64,
            delivered: subscribers.received.values,
            incomplete: subscribers.incomplete(publishers.sent, publishers.sum) - elsewhere,
            outdated: self.listeners.saturating_sub(subscribers.received.up_to_date),
            latencies_us,
            answers_us,
            cpu: cpu_used,
            own_cpu,
        })
    }

    fn publish(
        &self,
        subscribers: &mut Subscribers,
        publishers: &mut Publishers,
        started: u64,
    ) -> Result<()> {
        let until = started + self.duration.as_nanos() as u64;
        let (mut due, mut at) = (started, started);
        while at < until {
            let wait = match self.pace {
                Pace::InFlight(_) => {
                    while self.undelivered(subscribers, publishers) < self.undelivered_max as u64
                        && publishers.send(subscribers)?
                    {}
                    POLL_MAX
                }
                Pace::PerSecond(rate) => {
                    if at >= due && publishers.send(subscribers)? {
                        due += (1e9 / rate) as u64;
                    }
                    Duration::from_nanos(due.saturating_sub(at)).min(POLL_MAX)
                }
            };
            subscribers.poll_once(wait.min(Duration::from_nanos(until - at)))?;
            publishers.take(subscribers)?;
            at = now();
        }
        Ok(())
    }

    /// Undelivered values of a listener, on average.
    fn undelivered(&self, subscribers: &Subscribers, publishers: &Publishers) -> u64 {
        let expected = u64::from(publishers.sent) * self.listeners as u64;
        expected.saturating_sub(subscribers.received.values).div_ceil(self.listeners.max(1) as u64)
    }
}

/// Waits for all answers, sends the last value, and waits until all listeners have it, or no more
/// values arrive; heartbeats do not count.
fn finish(
    subscribers: &mut Subscribers,
    publishers: &mut Publishers,
    listeners: usize,
) -> Result<()> {
    let silence_max = SILENCE_MAX.as_nanos() as u64;
    let mut received_at = now();
    let mut received = (subscribers.received.values, publishers.waiting);
    loop {
        if publishers.waiting == 0 {
            if subscribers.received.last_number.is_none() {
                subscribers.received.last_number = Some(publishers.next());
                publishers.send(subscribers)?;
            } else if subscribers.received.values >= u64::from(publishers.sent) * listeners as u64
                && subscribers.received.up_to_date >= listeners
            {
                return Ok(());
            }
        }
        subscribers.poll_once(POLL_MAX)?;
        publishers.take(subscribers)?;
        if received != (subscribers.received.values, publishers.waiting) {
            (received, received_at) = ((subscribers.received.values, publishers.waiting), now());
        } else if now() - received_at > silence_max {
            return match publishers.waiting {
                0 => Ok(()),
                waiting => Err(format!("{waiting} values were never acknowledged").into()),
            };
        }
    }
}

impl Outcome {
    /// Deliveries a second.
    pub fn per_second(&self) -> f64 {
        self.delivered as f64 / self.seconds
    }

    /// CPU time of the server for a delivery, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.cpu * 1e6 / self.delivered as f64
    }

    /// CPU time of the subscribers for a delivery, in microseconds.
    pub fn own_cpu_us(&self) -> f64 {
        self.own_cpu * 1e6 / self.delivered as f64
    }

    /// The median latency in milliseconds.
    pub fn p50_ms(&self) -> f64 {
        quantile(&self.latencies_us, 0.5)
    }

    /// The 99th percentile of latencies in milliseconds.
    pub fn p99_ms(&self) -> f64 {
        quantile(&self.latencies_us, 0.99)
    }

    /// The share of deliveries that did not arrive, in percent.
    pub fn missing_percent(&self) -> f64 {
        let missing = self.expected as f64 - self.delivered as f64;
        100.0 * missing / self.expected as f64
    }
}

/// A quantile of ascending microseconds, in milliseconds; not a number when there are none.
pub fn quantile(ascending_us: &[u32], share: f64) -> f64 {
    let Some(last) = ascending_us.len().checked_sub(1) else { return f64::NAN };
    f64::from(ascending_us[(last as f64 * share) as usize]) / 1e3
}

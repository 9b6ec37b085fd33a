//! One measured run: values are published for a time, then one more when all are acknowledged, and
//! the run is over when everyone has heard that one, or nothing more comes.

use std::time::Duration;

use broker_bench::Result;
use broker_bench::process::cpu;

use crate::publishers::{Pace, Publishers};
use crate::subscribers::Subscribers;
use crate::target::Target;
use crate::value::now;

/// So long nothing comes to those who wait for something.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// Values on their way, unless others are asked for: 30 KB a subscriber, which is a hundredth of
/// Broker's window, and fits every server's socket buffer.
pub const UNDELIVERED_MAX: usize = 64;
/// Between two looks at the clock.
const POLL_MAX: Duration = Duration::from_millis(100);

/// What is published.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// Under which name.
    pub event: &'a str,
    /// How fast.
    pub pace: Pace,
    /// For how long.
    pub duration: Duration,
    /// How many of the crowd listen to that event.
    pub listeners: usize,
    /// The most values that are on their way to somebody while more are published as fast as they
    /// are acknowledged.
    ///
    /// Broker acknowledges what is durable, whoever has read it, so nothing else would keep
    /// publishers from leaving subscribers behind, where values are superseded; and the deliveries
    /// that are counted are those of every value.
    pub undelivered_max: usize,
}

/// What came of it.
pub struct Outcome {
    /// Values published and acknowledged.
    pub published: u32,
    /// From the first value to the last delivery, or the last answer when nobody listens.
    pub seconds: f64,
    /// Deliveries that there should have been.
    pub expected: u64,
    /// Deliveries that there were.
    pub delivered: u64,
    /// Listeners who got other values than were published, or one twice, or not all.
    pub incomplete: usize,
    /// Listeners who did not get the newest value.
    pub outdated: usize,
    /// From sending a value to reading it, in microseconds, ascending.
    pub latencies_us: Vec<u32>,
    /// From sending a value to its acknowledgement, in microseconds, ascending.
    pub answers_us: Vec<u32>,
    /// CPU-seconds of the server, its workers included.
    pub cpu: f64,
    /// CPU-seconds of this process.
    pub own_cpu: f64,
}

impl<'a> Plan<'a> {
    /// With the usual number of values on their way.
    pub fn new(event: &'a str, pace: Pace, duration: Duration, listeners: usize) -> Self {
        Self { event, pace, duration, listeners, undelivered_max: UNDELIVERED_MAX }
    }

    /// Does it.
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
        // Those who listen to something else heard nothing, and are no fault.
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

    /// How many values are on their way, as many as those who listen lack on average.
    fn undelivered(&self, subscribers: &Subscribers, publishers: &Publishers) -> u64 {
        let expected = u64::from(publishers.sent) * self.listeners as u64;
        expected.saturating_sub(subscribers.received.values).div_ceil(self.listeners.max(1) as u64)
    }
}

/// Waits for all answers, sends the last value, and waits until all have it, or for as long as
/// values come; heartbeats do not count.
fn finish(
    subscribers: &mut Subscribers,
    publishers: &mut Publishers,
    listeners: usize,
) -> Result<()> {
    let silence_max = SILENCE_MAX.as_nanos() as u64;
    let mut heard_at = now();
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
            (received, heard_at) = ((subscribers.received.values, publishers.waiting), now());
        } else if now() - heard_at > silence_max {
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

    /// The server's CPU a delivery, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.cpu * 1e6 / self.delivered as f64
    }

    /// The crowd's CPU a delivery, in microseconds.
    pub fn own_cpu_us(&self) -> f64 {
        self.own_cpu * 1e6 / self.delivered as f64
    }

    /// Milliseconds that half of all deliveries stayed within.
    pub fn p50_ms(&self) -> f64 {
        quantile(&self.latencies_us, 0.5)
    }

    /// Milliseconds that 99 of 100 deliveries stayed within.
    pub fn p99_ms(&self) -> f64 {
        quantile(&self.latencies_us, 0.99)
    }

    /// Deliveries that did not come, of 100.
    pub fn missing_percent(&self) -> f64 {
        let missing = self.expected as f64 - self.delivered as f64;
        100.0 * missing / self.expected as f64
    }
}

/// Of ascending microseconds, in milliseconds; not a number when there are none.
pub fn quantile(ascending_us: &[u32], share: f64) -> f64 {
    let Some(last) = ascending_us.len().checked_sub(1) else { return f64::NAN };
    f64::from(ascending_us[(last as f64 * share) as usize]) / 1e3
}

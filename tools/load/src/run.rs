//! A measured run. Values are published for a time, and a last one when all are acknowledged; the
//! run ends when all listeners have received that one, or nothing more arrives.

use std::time::Duration;

use broker_tools::Result;
use broker_tools::process::cpu;

use crate::outcome::Outcome;
use crate::plan::{Pace, Plan};
use crate::publishers::Publishers;
use crate::subscribers::Subscribers;
use crate::target::Target;
use crate::value::now;

/// A run ends when nothing arrives for this long.
const SILENCE_MAX: Duration = Duration::from_secs(3);
const WARM_UP_TRIES: usize = 5;
/// Maximum time between two checks of the clock.
const POLL_MAX: Duration = Duration::from_millis(100);

impl Plan {
    /// Runs the plan.
    pub fn run(&self, subscribers: &mut Subscribers, target: &Target) -> Result<Outcome> {
        subscribers.reset();
        subscribers.received.is_timed = true;
        let mut publishers = Publishers::new(target, self.pace);
        let (cpu_before, own_before) = (target.server.cpu()?, cpu(std::process::id())?);
        let started = now();
        self.publish(subscribers, &mut publishers, started)?;
        finish(subscribers, &mut publishers, self.listeners)?;
        let last_at = if self.listeners == 0 { now() } else { subscribers.received.last_at };
        let seconds = last_at.saturating_sub(started) as f64 / 1e9;
        let cpu_used = target.server.cpu()?.saturating_sub(cpu_before).as_secs_f64();
        let own_cpu = cpu(std::process::id())?.saturating_sub(own_before).as_secs_f64();
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

/// Publishes a few values until all listeners receive them, because nchan completes a handshake before
/// the subscription is active in every worker.
pub fn warm_up(listeners: usize, subscribers: &mut Subscribers, target: &Target) -> Result {
    let plan = Plan::new(Pace::InFlight(1), Duration::from_millis(1), listeners);
    for _ in 0..WARM_UP_TRIES {
        if plan.run(subscribers, target)?.incomplete == 0 {
            return Ok(());
        }
    }
    Err(format!("not all of {listeners} receive what is published").into())
}

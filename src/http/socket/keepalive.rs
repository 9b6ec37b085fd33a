//! Timers of a socket: pings, the timeout of pongs and the timeout of messages.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::Config;

/// An expired timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Ping,
    /// Nothing was received in time after a ping.
    Silent,
    /// A message was not completed in time.
    Slow,
}

/// Pings the client every heartbeat; anything that the client sends counts as an answer. A message
/// has the same time limit as a request body, because its fragments stay in memory.
pub struct Keepalive {
    heartbeat: Duration,
    pong_timeout: Duration,
    next_ping: Instant,
    /// When the oldest unanswered ping was sent.
    unanswered: Option<Instant>,
    message_timeout: Duration,
    /// When the current, incomplete message began.
    message_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Keepalive {
    pub fn new(config: &Config) -> Self {
        let next_ping = Instant::now() + config.heartbeat;
        Self {
            heartbeat: config.heartbeat,
            pong_timeout: config.stall_timeout,
            next_ping,
            unanswered: None,
            message_timeout: config.body_timeout,
            message_since: None,
            timer: Box::pin(sleep_until(next_ping)),
        }
    }

    /// Notes that the client sent something.
    pub fn heard(&mut self) {
        self.unanswered = None;
    }

    /// Sets since when a message is incomplete.
    pub fn message_since(&mut self, begun: Option<Instant>) {
        if begun != self.message_since {
            self.message_since = begun;
            if begun.is_some() {
                self.rearm();
            }
        }
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let due = self.due(now);
            if due == Some(Due::Ping) {
                self.next_ping = now + self.heartbeat;
                self.unanswered.get_or_insert(now);
            }
            self.rearm();
            if let Some(due) = due {
                return Poll::Ready(due);
            }
        }
        Poll::Pending
    }

    fn due(&self, now: Instant) -> Option<Due> {
        let is_past = |deadline: Option<Instant>| deadline.is_some_and(|deadline| now >= deadline);
        if is_past(self.silent_at()) {
            Some(Due::Silent)
        } else if is_past(self.slow_at()) {
            Some(Due::Slow)
        } else {
            (now >= self.next_ping).then_some(Due::Ping)
        }
    }

    fn silent_at(&self) -> Option<Instant> {
        self.unanswered.map(|since| since + self.pong_timeout)
    }

    fn slow_at(&self) -> Option<Instant> {
        self.message_since.map(|since| since + self.message_timeout)
    }

    fn rearm(&mut self) {
        let deadlines = [self.silent_at(), self.slow_at()];
        let next = deadlines.into_iter().flatten().fold(self.next_ping, Instant::min);
        self.timer.as_mut().reset(next);
    }
}

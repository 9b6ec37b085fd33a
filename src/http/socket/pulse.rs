//! Signs of life: pings to a client, and how long it may leave them unanswered.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    /// A ping was not answered in time.
    Silent,
}

/// Asks a client every heartbeat whether it is there. Anything that it sends answers.
pub(super) struct Pulse {
    heartbeat: Duration,
    patience: Duration,
    next_ping: Instant,
    /// When the oldest ping was sent that nothing was heard after.
    unanswered: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Pulse {
    pub fn new(heartbeat: Duration, patience: Duration) -> Self {
        let next_ping = Instant::now() + heartbeat;
        let timer = Box::pin(sleep_until(next_ping));
        Self { heartbeat, patience, next_ping, unanswered: None, timer }
    }

    /// The client sent something.
    pub fn heard(&mut self) {
        self.unanswered = None;
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let deadline = self.unanswered.map(|since| since + self.patience);
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Poll::Ready(Due::Silent);
            }
            let is_due = now >= self.next_ping;
            if is_due {
                self.next_ping = now + self.heartbeat;
                self.unanswered.get_or_insert(now);
            }
            let deadline = self.unanswered.map(|since| since + self.patience);
            let next = deadline.map_or(self.next_ping, |deadline| deadline.min(self.next_ping));
            self.timer.as_mut().reset(next);
            if is_due {
                return Poll::Ready(Due::Ping);
            }
        }
        Poll::Pending
    }
}

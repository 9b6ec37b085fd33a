//! The cursor held by the client of a stream or socket.

use std::time::Duration;

use tokio::time::Instant;

use crate::record::Seq;
use crate::subscription::Subscriber;

/// Minimum time between two `synced` events that advance the cursor of a quiet stream.
const SYNCED_INTERVAL: Duration = Duration::from_secs(60);

/// The last cursor that was sent to a client.
#[derive(Debug, Default)]
pub struct ClientCursor {
    seq: Seq,
    synced_at: Option<Instant>,
}

impl ClientCursor {
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Notes that the cursor at `seq` was sent.
    pub fn sent(&mut self, seq: Seq) {
        self.seq = seq;
    }

    /// Notes that `synced` was sent with the cursor at `seq`.
    pub fn synced(&mut self, seq: Seq) {
        self.seq = seq;
        self.synced_at = Some(Instant::now());
    }

    /// Whether to advance the cursor of a quiet stream by another `synced`, so that a reconnect has
    /// little to skip.
    pub fn is_synced_due(&self, subscriber: &Subscriber) -> bool {
        let is_due = self.synced_at.is_some_and(|at| at.elapsed() >= SYNCED_INTERVAL);
        is_due && subscriber.is_following() && subscriber.position() > self.seq
    }
}

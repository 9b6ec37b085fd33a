//! How the bridge stands, for whoever asks: written by its ways, read by the status routes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::record::Seq;

/// How each way that is set up stands.
#[derive(Debug, Default)]
pub struct BridgeState {
    /// Records that go out.
    pub outbound: Option<OutboundState>,
    /// Messages that come in.
    pub inbound: Option<InboundState>,
}

/// How the way out stands.
#[derive(Debug, Default)]
pub struct OutboundState {
    connected: AtomicBool,
    /// Every record up to here was confirmed, or is not to go out.
    position: AtomicU64,
    /// Nothing that is to go out is known beyond the position.
    is_idle: AtomicBool,
}

/// How the way in stands.
#[derive(Debug, Default)]
pub struct InboundState {
    connected: AtomicBool,
}

impl OutboundState {
    /// Whether RabbitMQ takes records now.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Every record up to here was confirmed, or is not to go out.
    pub fn position(&self) -> Seq {
        self.position.load(Ordering::Relaxed)
    }

    /// Records of a log with this head that RabbitMQ did not confirm yet, or that were not looked
    /// at; 0 when nothing is to be sent.
    pub fn lag(&self, head: Seq) -> u64 {
        if self.is_idle.load(Ordering::Relaxed) {
            return 0;
        }
        head.saturating_sub(self.position())
    }
}

impl InboundState {
    /// Whether messages can come now.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }
}

#[cfg(feature = "rabbitmq")]
impl OutboundState {
    pub(super) fn connect(&self) {
        self.connected.store(true, Ordering::Relaxed);
    }

    /// What comes while it is away waits to be sent.
    pub(super) fn disconnect(&self) {
        self.is_idle.store(false, Ordering::Relaxed);
        self.connected.store(false, Ordering::Relaxed);
    }

    /// The position rises, and whether anything waits behind it.
    pub(super) fn update(&self, position: Seq, is_idle: bool) {
        self.position.store(position, Ordering::Relaxed);
        self.is_idle.store(is_idle, Ordering::Relaxed);
    }
}

#[cfg(feature = "rabbitmq")]
impl InboundState {
    pub(super) fn connect(&self) {
        self.connected.store(true, Ordering::Relaxed);
    }

    pub(super) fn disconnect(&self) {
        self.connected.store(false, Ordering::Relaxed);
    }
}

#[cfg(all(test, feature = "rabbitmq"))]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_unconfirmed_records_and_is_0_while_idle() {
        let out = OutboundState::default();
        assert_eq!(out.lag(7), 7, "nothing was looked at yet");
        out.update(5, false);
        assert_eq!((out.position(), out.lag(7)), (5, 2));
        out.update(5, true);
        assert_eq!(out.lag(9), 0, "what came since is not to go out");
        out.disconnect();
        assert_eq!(out.lag(9), 4, "nobody looks at what comes now");
    }
}

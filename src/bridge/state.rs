//! The state of the bridge: written by its two directions, read by the health routes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::record::Seq;

/// The state of each direction that is configured.
#[derive(Debug, Default)]
pub struct BridgeState {
    /// Records that go out.
    pub outbound: Option<OutboundState>,
    /// Messages that come in.
    pub inbound: Option<InboundState>,
}

/// The state of the outbound direction.
#[derive(Debug, Default)]
pub struct OutboundState {
    connected: AtomicBool,
    /// Every record up to here was confirmed or is not to be sent.
    position: AtomicU64,
    /// No record to be sent after the position is known.
    is_idle: AtomicBool,
}

/// The state of the inbound direction.
#[derive(Debug, Default)]
pub struct InboundState {
    connected: AtomicBool,
}

impl OutboundState {
    /// Whether it is connected, so that records go out.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Every record up to here was confirmed or is not to be sent.
    pub fn position(&self) -> Seq {
        self.position.load(Ordering::Relaxed)
    }

    /// Records after the position in a log with this head, which RabbitMQ did not confirm or which
    /// were not read yet; 0 if nothing is to be sent.
    pub fn lag(&self, head: Seq) -> u64 {
        if self.is_idle.load(Ordering::Relaxed) {
            return 0;
        }
        head.saturating_sub(self.position())
    }
}

impl InboundState {
    /// Whether it is connected, so that messages come in.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }
}

#[cfg(feature = "rabbitmq")]
impl OutboundState {
    pub(super) fn connect(&self) {
        self.connected.store(true, Ordering::Relaxed);
    }

    /// Disconnected, it is not idle: new records wait to be sent.
    pub(super) fn disconnect(&self) {
        self.is_idle.store(false, Ordering::Relaxed);
        self.connected.store(false, Ordering::Relaxed);
    }

    /// Sets the position, and whether no record to be sent after it is known.
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
        assert_eq!(out.lag(7), 7, "nothing was read yet");
        out.update(5, false);
        assert_eq!((out.position(), out.lag(7)), (5, 2));
        out.update(5, true);
        assert_eq!(out.lag(9), 0, "newer records are not to be sent");
        out.disconnect();
        assert_eq!(out.lag(9), 4, "nothing is read while disconnected");
    }
}

//! How a direction of the bridge is stopped, and how it ends.

use tokio::sync::watch;

/// Why a direction ended without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DirectionEnd {
    /// The log has ended.
    Finished,
    /// The bridge was stopped.
    Stopped,
}

/// Tells a direction to stop.
#[derive(Clone, Debug)]
pub(super) struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    /// A sender, and the signal that it gives by sending true or being dropped.
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Completes once the bridge is stopped; at once when called again.
    pub async fn wait(&mut self) {
        // An error means that the sender was dropped with its broker.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

//! The metrics of the bridge to RabbitMQ. Without a bridge they exist too and stay at 0.

use metrics::{Counter, Gauge, Unit};

use crate::metrics::registry::MetricRegistry;

/// The metrics of the bridge.
#[derive(Clone)]
#[cfg_attr(not(feature = "rabbitmq"), allow(dead_code, reason = "there is no bridge to count"))]
pub struct BridgeMetrics {
    /// Whether the outbound direction is connected.
    pub(crate) out_connected: Gauge,
    /// Whether the inbound direction is connected.
    pub(crate) in_connected: Gauge,
    /// Records after the outbound position; 0 if none is to be sent.
    pub(crate) lag: Gauge,
    /// Records that RabbitMQ confirmed.
    pub(crate) sent: Counter,
    /// Messages that became records.
    pub(crate) inserted: Counter,
    /// Messages whose record was stored before.
    pub(crate) known: Counter,
    /// Messages that were rejected for good.
    pub(crate) refused: Counter,
}

impl BridgeMetrics {
    pub(super) fn new(registry: &MetricRegistry) -> Self {
        let connected = registry.gauges(
            "broker_bridge_connected",
            "way",
            "Whether a direction of the bridge to RabbitMQ is connected, 1 or 0.",
        );
        let received = registry.counters(
            "broker_bridge_received_total",
            "outcome",
            "Messages from RabbitMQ that were answered, by outcome.",
        );
        Self {
            out_connected: connected("out"),
            in_connected: connected("in"),
            lag: registry.gauge(
                "broker_bridge_lag",
                Unit::Count,
                "Records after the position of the bridge, 0 if none is to be sent.",
            ),
            sent: registry.counter(
                "broker_bridge_sent_total",
                Unit::Count,
                "Records that RabbitMQ confirmed.",
            ),
            inserted: received("inserted"),
            known: received("known"),
            refused: received("refused"),
        }
    }
}

//! The metrics of the bridge to RabbitMQ. Without a bridge they exist too and stay at 0.

use metrics::{Counter, Gauge, Key, Label, Recorder as _, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;

use crate::metrics::METADATA;

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
    pub(super) fn new(recorder: &PrometheusRecorder) -> Self {
        let count = Some(Unit::Count);
        let connected = "broker_bridge_connected";
        let help = "Whether a direction of the bridge to RabbitMQ is connected, 1 or 0.";
        recorder.describe_gauge(connected.into(), count, help.into());
        let lag = "broker_bridge_lag";
        let help = "Records after the position of the bridge, 0 if none is to be sent.";
        recorder.describe_gauge(lag.into(), count, help.into());
        let sent = "broker_bridge_sent_total";
        let help = "Records that RabbitMQ confirmed.";
        recorder.describe_counter(sent.into(), count, help.into());
        let received = "broker_bridge_received_total";
        let help = "Messages from RabbitMQ that were answered, by outcome.";
        recorder.describe_counter(received.into(), count, help.into());
        let connected_gauge = |way| {
            let key = Key::from_parts(connected, vec![Label::new("way", way)]);
            recorder.register_gauge(&key, &METADATA)
        };
        let outcome = |outcome| {
            let key = Key::from_parts(received, vec![Label::new("outcome", outcome)]);
            recorder.register_counter(&key, &METADATA)
        };
        Self {
            out_connected: connected_gauge("out"),
            in_connected: connected_gauge("in"),
            lag: recorder.register_gauge(&Key::from_static_name(lag), &METADATA),
            sent: recorder.register_counter(&Key::from_static_name(sent), &METADATA),
            inserted: outcome("inserted"),
            known: outcome("known"),
            refused: outcome("refused"),
        }
    }
}

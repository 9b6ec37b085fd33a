//! All metrics, in one list, through the `metrics` facade.
//!
//! Owns the metrics' names and help texts. Promises to use a recorder of its own, so that the
//! global one of an embedding program is left alone. Does not know where a value is read or
//! recorded.

mod bridge;
mod registry;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::metrics::bridge::BridgeMetrics;
use crate::metrics::registry::MetricRegistry;

/// Histogram samples that are kept, at 24 bytes each, before they are aggregated.
const SAMPLES_KEPT_MAX: usize = 4_096;

/// Every metric; a test pins the names.
#[derive(Clone)]
pub struct Metrics {
    prometheus: PrometheusHandle,
    /// Records that became durable.
    records: Counter,
    /// Groups that were synced.
    groups: Counter,
    /// Seconds from a request's body to its acknowledgement.
    insert_seconds: Histogram,
    /// Number of samples recorded; the recorder keeps each until its upkeep runs.
    insert_samples: Arc<AtomicUsize>,
    /// Requests refused, by problem code.
    refused: Arc<dyn Fn(&'static str) -> Counter + Send + Sync>,
    /// Records written to streams.
    pub(crate) delivered: Counter,
    /// Bytes written to streams.
    pub(crate) delivered_bytes: Counter,
    /// Records delivered by `/consume`.
    pub(crate) consumed: Counter,
    /// Consumers that have a position.
    pub(crate) consumers: Gauge,
    /// Open streams.
    pub(crate) streams: Gauge,
    /// Registrations of relay clients.
    pub(crate) registrations: Gauge,
    /// Subscribers of any kind.
    pub(crate) subscribers: Gauge,
    /// The log's last seq.
    pub(crate) head: Gauge,
    /// The projection's position.
    pub(crate) applied: Gauge,
    /// Records that the projection is behind the log.
    pub(crate) lag: Gauge,
    /// Records restored from the snapshot and not verified since the start.
    pub(crate) unverified: Gauge,
    /// Bytes of queued inserts.
    pub(crate) queue_bytes: Gauge,
    /// Public events that have a latest record.
    pub(crate) latest: Gauge,
    /// Bytes of the public latest records' JSON.
    pub(crate) latest_bytes: Gauge,
    /// The metrics of the bridge to RabbitMQ.
    pub(crate) bridge: BridgeMetrics,
}

impl Metrics {
    /// Registers every metric with a new recorder.
    #[must_use]
    pub fn new() -> Self {
        let registry = MetricRegistry::new();
        let counter = |name, help| registry.counter(name, Unit::Count, help);
        let gauge = |name, help| registry.gauge(name, Unit::Count, help);
        let bytes = |name, help| registry.gauge(name, Unit::Bytes, help);
        Self {
            prometheus: registry.handle(),
            records: counter("broker_records_total", "Records that became durable."),
            groups: counter("broker_groups_total", "Groups that were synced."),
            insert_seconds: registry.seconds(
                "broker_insert_seconds",
                "Seconds from the body of an insert to its acknowledgement.",
            ),
            insert_samples: Arc::default(),
            refused: Arc::new(registry.counters(
                "broker_refused_total",
                "code",
                "Requests refused, by code.",
            )),
            delivered: counter("broker_delivered_total", "Records written to streams."),
            delivered_bytes: registry.counter(
                "broker_delivered_bytes_total",
                Unit::Bytes,
                "Bytes written to streams.",
            ),
            consumed: counter("broker_consumed_total", "Records delivered to consumers."),
            consumers: gauge("broker_consumers", "Consumers that have a position."),
            streams: gauge("broker_streams", "Open streams."),
            registrations: gauge(
                "broker_registrations",
                "Registrations of relay clients, connected or not.",
            ),
            subscribers: gauge("broker_subscribers", "Subscribers of any kind."),
            head: gauge("broker_log_seq", "The log's last seq."),
            applied: gauge("broker_projection_seq", "The projection's last applied seq."),
            lag: gauge("broker_projection_lag", "Records that the projection is behind the log."),
            unverified: gauge(
                "broker_log_unverified_records",
                "Records restored from the snapshot and not verified since the start.",
            ),
            queue_bytes: bytes("broker_queue_bytes", "Bytes of queued inserts."),
            latest: gauge("broker_latest", "Public events that have a latest record."),
            latest_bytes: bytes("broker_latest_bytes", "Bytes of the public latest records' JSON."),
            bridge: BridgeMetrics::new(&registry),
        }
    }

    /// Counts a group of `records` that became durable.
    pub(crate) fn committed(&self, records: usize) {
        self.groups.increment(1);
        self.records.increment(records as u64);
    }

    /// Counts an insert that was acknowledged after `elapsed`.
    pub(crate) fn inserted(&self, elapsed: Duration) {
        self.insert_seconds.record(elapsed.as_secs_f64());
        let samples = self.insert_samples.fetch_add(1, Ordering::Relaxed) + 1;
        if samples.is_multiple_of(SAMPLES_KEPT_MAX) {
            self.prometheus.run_upkeep();
        }
    }

    /// Counts a refused request.
    pub(crate) fn refused(&self, code: &'static str) {
        (self.refused)(code).increment(1);
    }

    /// All metrics in the Prometheus text format, version 0.0.4.
    #[must_use]
    pub(crate) fn render(&self) -> String {
        self.prometheus.run_upkeep();
        self.prometheus.render()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Metrics")
    }
}

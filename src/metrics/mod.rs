//! All metrics, in one list, through the `metrics` facade.
//!
//! Owns the metrics' names and help texts. Promises to use a recorder of its own, so that the
//! global one of an embedding program is left alone. Does not know where a value is read or
//! recorded.

mod bridge;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder as _, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::metrics::bridge::BridgeMetrics;

/// Upper bounds of latency buckets in seconds: a synced append takes 0.0001, on a slow disk 0.1.
const SECONDS_BUCKETS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// Histogram samples that are kept, at 24 bytes each, before they are aggregated.
const SAMPLES_KEPT_MAX: usize = 4_096;

static METADATA: Metadata<'static> = Metadata::new("broker", Level::INFO, Some("broker"));

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
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
            .expect("the list of buckets is not empty")
            .build_recorder();
        let recorder = Arc::new(recorder);
        let counter = |name: &'static str, unit, help: &'static str| {
            recorder.describe_counter(name.into(), unit, help.into());
            recorder.register_counter(&Key::from_static_name(name), &METADATA)
        };
        let gauge = |name: &'static str, unit, help: &'static str| {
            recorder.describe_gauge(name.into(), unit, help.into());
            recorder.register_gauge(&Key::from_static_name(name), &METADATA)
        };
        let (count, bytes) = (Some(Unit::Count), Some(Unit::Bytes));
        let insert_seconds = "broker_insert_seconds";
        let help = "Seconds from the body of an insert to its acknowledgement.";
        recorder.describe_histogram(insert_seconds.into(), Some(Unit::Seconds), help.into());
        let refused = "broker_refused_total";
        recorder.describe_counter(refused.into(), count, "Requests refused, by code.".into());
        let refused_recorder = recorder.clone();
        let bridge = BridgeMetrics::new(&recorder);
        Self {
            bridge,
            prometheus: recorder.handle(),
            records: counter("broker_records_total", count, "Records that became durable."),
            groups: counter("broker_groups_total", count, "Groups that were synced."),
            insert_seconds: recorder
                .register_histogram(&Key::from_static_name(insert_seconds), &METADATA),
            insert_samples: Arc::default(),
            refused: Arc::new(move |code| {
                let key = Key::from_parts(refused, vec![Label::new("code", code)]);
                refused_recorder.register_counter(&key, &METADATA)
            }),
            delivered: counter("broker_delivered_total", count, "Records written to streams."),
            delivered_bytes: counter(
                "broker_delivered_bytes_total",
                bytes,
                "Bytes written to streams.",
            ),
            consumed: counter("broker_consumed_total", count, "Records delivered to consumers."),
            consumers: gauge("broker_consumers", count, "Consumers that have a position."),
            streams: gauge("broker_streams", count, "Open streams."),
            registrations: gauge(
                "broker_registrations",
                count,
                "Registrations of relay clients, connected or not.",
            ),
            subscribers: gauge("broker_subscribers", count, "Subscribers of any kind."),
            head: gauge("broker_log_seq", count, "The log's last seq."),
            applied: gauge("broker_projection_seq", count, "The projection's last applied seq."),
            lag: gauge(
                "broker_projection_lag",
                count,
                "Records that the projection is behind the log.",
            ),
            unverified: gauge(
                "broker_log_unverified_records",
                count,
                "Records restored from the snapshot and not verified since the start.",
            ),
            queue_bytes: gauge("broker_queue_bytes", bytes, "Bytes of queued inserts."),
            latest: gauge("broker_latest", count, "Public events that have a latest record."),
            latest_bytes: gauge(
                "broker_latest_bytes",
                bytes,
                "Bytes of the public latest records' JSON.",
            ),
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

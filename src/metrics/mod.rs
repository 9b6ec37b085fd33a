//! What Broker counts, in one list, behind the `metrics` facade.
//!
//! Recorded into a recorder of its own, so that an embedding program's global one is left alone.

mod bridge;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder as _, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::metrics::bridge::BridgeMetrics;

/// Bounds of latency buckets in seconds: a synced append takes 0.0001, a slow disk 0.1.
const SECONDS_BUCKETS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// Samples of a histogram that are kept before they are summed up, at 24 bytes each.
const SAMPLES_KEPT_MAX: usize = 4_096;

static METADATA: Metadata<'static> = Metadata::new("broker", Level::INFO, Some("broker"));

/// Every metric with its meaning; the names are pinned by a test.
#[derive(Clone)]
pub struct Metrics {
    prometheus: PrometheusHandle,
    /// Records that became durable.
    records: Counter,
    /// Groups that were synced.
    groups: Counter,
    /// Seconds from a request's body to its acknowledgement.
    insert_seconds: Histogram,
    /// How many were recorded: the recorder keeps each until it is told to sum them up.
    insert_samples: Arc<AtomicUsize>,
    /// Inserts refused, by code.
    refused: Arc<dyn Fn(&'static str) -> Counter + Send + Sync>,
    /// Records written to streams.
    pub(crate) delivered: Counter,
    /// Bytes written to streams.
    pub(crate) delivered_bytes: Counter,
    /// Records handed out by `/consume`.
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
    /// Records that the projection is behind.
    pub(crate) lag: Gauge,
    /// Records that were not read since the start.
    pub(crate) unverified: Gauge,
    /// Bytes waiting in the queue.
    pub(crate) queue_bytes: Gauge,
    /// Public events that have a newest value.
    pub(crate) latest: Gauge,
    /// Bytes of the public newest values' JSON.
    pub(crate) latest_bytes: Gauge,
    /// What the bridge to RabbitMQ does.
    pub(crate) bridge: BridgeMetrics,
}

impl Metrics {
    /// A recorder of its own.
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
        let help = "From a request's body to its acknowledgement.";
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
            consumed: counter("broker_consumed_total", count, "Records handed out to consumers."),
            consumers: gauge("broker_consumers", count, "Consumers that have a position."),
            streams: gauge("broker_streams", count, "Open streams."),
            registrations: gauge(
                "broker_registrations",
                count,
                "Registrations of relay clients, connected or not.",
            ),
            subscribers: gauge("broker_subscribers", count, "Subscribers of any kind."),
            head: gauge("broker_log_seq", count, "The log's last seq."),
            applied: gauge("broker_projection_seq", count, "The projection's position."),
            lag: gauge("broker_projection_lag", count, "Records that the projection is behind."),
            unverified: gauge(
                "broker_log_unverified_records",
                count,
                "Records that a checkpoint stands for and that were not read since the start.",
            ),
            queue_bytes: gauge("broker_queue_bytes", bytes, "Bytes waiting to be appended."),
            latest: gauge("broker_latest", count, "Public events that have a newest value."),
            latest_bytes: gauge(
                "broker_latest_bytes",
                bytes,
                "Bytes of the public newest values' JSON.",
            ),
        }
    }

    /// One group of so many records became durable.
    pub(crate) fn committed(&self, records: usize) {
        self.groups.increment(1);
        self.records.increment(records as u64);
    }

    /// An insert was acknowledged after so long.
    pub(crate) fn inserted(&self, elapsed: Duration) {
        self.insert_seconds.record(elapsed.as_secs_f64());
        let samples = self.insert_samples.fetch_add(1, Ordering::Relaxed) + 1;
        if samples.is_multiple_of(SAMPLES_KEPT_MAX) {
            self.prometheus.run_upkeep();
        }
    }

    /// A request was refused.
    pub(crate) fn refused(&self, code: &'static str) {
        (self.refused)(code).increment(1);
    }

    /// The Prometheus text format, version 0.0.4.
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

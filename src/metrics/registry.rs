//! Registers metrics, each with its unit and help text, with a recorder of its own.

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder as _, Unit};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

/// Upper bounds of latency buckets in seconds: a synced append takes 0.0001, on a slow disk 0.1.
const SECONDS_BUCKETS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

static METADATA: Metadata<'static> = Metadata::new("broker", Level::INFO, Some("broker"));

/// Registers metrics.
pub(super) struct MetricRegistry(Arc<PrometheusRecorder>);

impl MetricRegistry {
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
            .expect("the list of buckets is not empty")
            .build_recorder();
        Self(Arc::new(recorder))
    }

    pub fn handle(&self) -> PrometheusHandle {
        self.0.handle()
    }

    pub fn counter(&self, name: &'static str, unit: Unit, help: &'static str) -> Counter {
        self.0.describe_counter(name.into(), Some(unit), help.into());
        self.0.register_counter(&Key::from_static_name(name), &METADATA)
    }

    pub fn gauge(&self, name: &'static str, unit: Unit, help: &'static str) -> Gauge {
        self.0.describe_gauge(name.into(), Some(unit), help.into());
        self.0.register_gauge(&Key::from_static_name(name), &METADATA)
    }

    pub fn seconds(&self, name: &'static str, help: &'static str) -> Histogram {
        self.0.describe_histogram(name.into(), Some(Unit::Seconds), help.into());
        self.0.register_histogram(&Key::from_static_name(name), &METADATA)
    }

    /// Counters of one name; the function registers one for each value of the label.
    pub fn counters(
        &self,
        name: &'static str,
        label: &'static str,
        help: &'static str,
    ) -> impl Fn(&'static str) -> Counter + use<> {
        self.0.describe_counter(name.into(), Some(Unit::Count), help.into());
        let recorder = self.0.clone();
        move |value| recorder.register_counter(&labelled(name, label, value), &METADATA)
    }

    /// Gauges of one name; the function registers one for each value of the label.
    pub fn gauges(
        &self,
        name: &'static str,
        label: &'static str,
        help: &'static str,
    ) -> impl Fn(&'static str) -> Gauge + use<> {
        self.0.describe_gauge(name.into(), Some(Unit::Count), help.into());
        let recorder = self.0.clone();
        move |value| recorder.register_gauge(&labelled(name, label, value), &METADATA)
    }
}

fn labelled(name: &'static str, label: &'static str, value: &'static str) -> Key {
    Key::from_parts(name, vec![Label::new(label, value)])
}

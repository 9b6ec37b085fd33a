//! The outcome of a run.

use broker_tools::statistics::quantile;

/// The outcome of a run.
pub struct Outcome {
    /// Values published and acknowledged.
    pub published: u32,
    /// From the first value to the last delivery, or to the last answer when nobody listens.
    pub seconds: f64,
    /// Deliveries that were expected.
    pub expected: u64,
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Listeners that received wrong values, one twice, or not all.
    pub incomplete: usize,
    /// Listeners that did not receive the latest value.
    pub outdated: usize,
    /// From sending a value to receiving it, in microseconds, ascending.
    pub latencies_us: Vec<u32>,
    /// From sending a value to its acknowledgement, in microseconds, ascending.
    pub answers_us: Vec<u32>,
    /// CPU time of the server and its workers in seconds.
    pub cpu: f64,
    /// CPU time of this process in seconds.
    pub own_cpu: f64,
}

impl Outcome {
    /// Deliveries a second.
    pub fn per_second(&self) -> f64 {
        self.delivered as f64 / self.seconds
    }

    /// CPU time of the server for a delivery, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.cpu * 1e6 / self.delivered as f64
    }

    /// CPU time of the subscribers for a delivery, in microseconds.
    pub fn own_cpu_us(&self) -> f64 {
        self.own_cpu * 1e6 / self.delivered as f64
    }

    /// The median latency in milliseconds.
    pub fn p50_ms(&self) -> f64 {
        quantile(&self.latencies_us, 0.5) / 1e3
    }

    /// The 99th percentile of latencies in milliseconds.
    pub fn p99_ms(&self) -> f64 {
        quantile(&self.latencies_us, 0.99) / 1e3
    }

    /// The share of deliveries that did not arrive, in percent.
    pub fn missing_percent(&self) -> f64 {
        let missing = self.expected as f64 - self.delivered as f64;
        100.0 * missing / self.expected as f64
    }
}

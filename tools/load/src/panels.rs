//! The plot.

use broker_tools::plot::{BROKER, FLOOR, PEER, Panel, Plot};

/// The plot.
pub const PLOT: Plot = Plot {
    title: "Live delivery: Broker, a bare loop of writes, nchan and Redis in one run",
    panels: &PANELS,
};

const PANELS: [Panel; 7] = [
    Panel {
        title: "Deliveries a second to 1,000, 8 inserts in flight (longer is better)",
        bench: "fan 1000",
        unit: "/s",
        bars: &[
            ("bare loop, deliveries", "bare loop of writes", FLOOR),
            ("broker, deliveries", "Broker", BROKER),
            ("nchan, deliveries", "nchan", PEER),
            ("redis, deliveries", "Redis pub/sub", PEER),
        ],
        goal: None,
    },
    Panel {
        title: "Deliveries a second to 10,000, 8 inserts in flight (longer is better)",
        bench: "fan 10000",
        unit: "/s",
        bars: &[
            ("bare loop, deliveries", "bare loop of writes", FLOOR),
            ("broker, deliveries", "Broker", BROKER),
            ("nchan, deliveries", "nchan", PEER),
            ("redis, deliveries", "Redis pub/sub", PEER),
        ],
        goal: None,
    },
    Panel {
        title: "CPU a delivery, 20 inserts a second to 1,000 (shorter is better)",
        bench: "rate 1000",
        unit: "us",
        bars: &[
            ("bare loop, CPU a delivery", "bare loop of writes", FLOOR),
            ("broker, CPU a delivery", "Broker", BROKER),
            ("nchan, CPU a delivery", "nchan", PEER),
            ("redis, CPU a delivery", "Redis pub/sub", PEER),
        ],
        goal: None,
    },
    Panel {
        title: "Latency p99, 20 inserts a second to 1,000 (shorter is better)",
        bench: "rate 1000",
        unit: "ms",
        bars: &[
            ("bare loop, latency p99", "bare loop of writes", FLOOR),
            ("broker, latency p99", "Broker", BROKER),
            ("nchan, latency p99", "nchan", PEER),
            ("redis, latency p99", "Redis pub/sub", PEER),
        ],
        goal: None,
    },
    Panel {
        title: "Latency p99, 2 inserts a second to 10,000 (shorter is better)",
        bench: "rate 10000",
        unit: "ms",
        bars: &[
            ("bare loop, latency p99", "bare loop of writes", FLOOR),
            ("broker, latency p99", "Broker", BROKER),
            ("nchan, latency p99", "nchan", PEER),
            ("redis, latency p99", "Redis pub/sub", PEER),
        ],
        goal: None,
    },
    Panel {
        title: "Memory of an idle subscriber, of 10,000 (shorter is better; line: goal)",
        bench: "idle",
        unit: "KB",
        bars: &[
            ("broker, memory a subscriber, connected", "Broker", BROKER),
            ("nchan, memory a subscriber, connected", "nchan", PEER),
            ("redis, memory a subscriber, connected", "Redis pub/sub", PEER),
        ],
        goal: Some(10.2),
    },
    Panel {
        title: "10,000 connect, until all have the latest value (shorter is better)",
        bench: "connect",
        unit: "s",
        bars: &[
            ("broker, until all have the value", "Broker", BROKER),
            ("nchan, until all have the value", "nchan", PEER),
        ],
        goal: None,
    },
];

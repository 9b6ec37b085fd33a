//! The plot of the benches.

use broker_tools::plot::{BROKER, FLOOR, PEER, Panel, Plot};

/// The plot.
pub const PLOT: Plot =
    Plot { title: "Broker against what was measured in the same run", panels: &PANELS };

const PANELS: [Panel; 6] = [
    Panel {
        title: "One insert alone, median (shorter is better)",
        bench: "insert",
        unit: "µs",
        bars: &[
            ("raw append and fdatasync", "append and sync", FLOOR),
            ("bare handler's round trip", "bare handler", FLOOR),
            ("floor: both", "floor: both", FLOOR),
            ("bare handler that appends and syncs", "bare handler that syncs", FLOOR),
            ("broker", "Broker", BROKER),
        ],
        goal: None,
    },
    Panel {
        title: "64 connections, 200 B, acknowledged a second (longer is better; line: goal)",
        bench: "burst",
        unit: "/s",
        bars: &[
            ("bare handler, answered", "bare handler, no disk", FLOOR),
            ("broker, acknowledged", "Broker", BROKER),
        ],
        goal: Some(40_000.0),
    },
    Panel {
        title: "Replay to one page (longer is better)",
        bench: "replay",
        unit: "MB/s",
        bars: &[
            ("1,000 values, loopback", "1,000 values, bare loop", FLOOR),
            ("1,000 values, broker", "1,000 values, Broker", BROKER),
            ("100,000 values, loopback", "100,000 values, bare loop", FLOOR),
            ("100,000 values, broker", "100,000 values, Broker", BROKER),
        ],
        goal: None,
    },
    Panel {
        title: "One connection, each insert synced, median (shorter is better)",
        bench: "1 conn",
        unit: "µs",
        bars: &[
            ("floor: append, sync, bare handler", "floor: sync, bare handler", FLOOR),
            ("broker", "Broker", BROKER),
            ("redis", "Redis", PEER),
        ],
        goal: None,
    },
    Panel {
        title: "64 connections, 200 B, each insert synced, a second (longer is better)",
        bench: "64 conn",
        unit: "/s",
        bars: &[
            ("bare handler, no disk", "bare handler, no disk", FLOOR),
            ("broker", "Broker", BROKER),
            ("redis", "Redis", PEER),
            ("nats jetstream", "NATS JetStream", PEER),
            ("pocketbase", "PocketBase", PEER),
        ],
        goal: None,
    },
    Panel {
        title: "256 connections, 200 B, each insert synced, a second (longer is better)",
        bench: "256 conn",
        unit: "/s",
        bars: &[("broker", "Broker", BROKER), ("redis", "Redis", PEER)],
        goal: None,
    },
];

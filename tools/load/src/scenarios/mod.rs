//! The scenarios: each is a row of one table and can be run alone.

mod audit;
mod connect;
mod drain;
mod fan;
mod idle;
mod inserts;
mod leave;
mod rate;
mod replay;
mod selectors;
mod sockets;
mod stalled;
mod storm;

use broker_tools::Result;
use broker_tools::report::Report;

use crate::settings::Settings;

/// A scenario.
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it measures.
    pub meaning: &'static str,
    /// Measures and reports.
    pub run: fn(&Settings, &mut Report) -> Result<()>,
}

/// All scenarios, in the order in which `all` runs them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "fan",
        meaning: "deliveries a second to 1,000 and 10,000, 8 inserts in flight",
        run: fan::run,
    },
    Scenario {
        name: "rate",
        meaning: "CPU a delivery and p99 at 20 a second to 1,000, and 2 a second to 10,000",
        run: rate::run,
    },
    Scenario { name: "idle", meaning: "memory of 10,000 idle subscribers", run: idle::run },
    Scenario {
        name: "stalled",
        meaning: "one subscriber that does not read, among 1,000 that do",
        run: stalled::run,
    },
    Scenario { name: "connect", meaning: "10,000 connect at the same time", run: connect::run },
    Scenario { name: "leave", meaning: "2,000 close their connections", run: leave::run },
    Scenario {
        name: "drain",
        meaning: "SIGTERM while 10,000 listen and others insert",
        run: drain::run,
    },
    Scenario {
        name: "selectors",
        meaning: "10,000 different selectors, compared with one",
        run: selectors::run,
    },
    Scenario {
        name: "inserts",
        meaning: "64 connections insert, with and without 1,000 subscribers of other events",
        run: inserts::run,
    },
    Scenario {
        name: "replay",
        meaning: "10,000 latest values to one client, 100,000 to 100 at once",
        run: replay::run,
    },
    Scenario { name: "audit", meaning: "a history of 100,000 versions", run: audit::run },
    Scenario {
        name: "storm",
        meaning: "10,000 reconnect with their cursors while others insert",
        run: storm::run,
    },
    Scenario {
        name: "sockets",
        meaning: "1,000 WebSockets compared with 1,000 streams",
        run: sockets::run,
    },
];

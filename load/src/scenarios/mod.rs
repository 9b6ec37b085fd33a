//! What is measured: each scenario is a row of the one table, and can be run alone.

mod fan;
mod rate;

use broker_bench::Result;
use broker_bench::report::Report;

use crate::arguments::Settings;

/// What most values are published as.
const EVENT: &str = "load.hot";

/// One of them.
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it measures.
    pub meaning: &'static str,
    /// Measures and reports.
    pub run: fn(&Settings, &mut Report) -> Result<()>,
}

/// All, in the order in which `all` runs them.
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
];

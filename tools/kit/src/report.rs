//! Figures, as a table and as JSON.

use std::fmt;

use serde_json::{Value, json};

/// The figures, in the order in which they were measured.
pub struct Report {
    machine: Value,
    figures: Vec<Figure>,
}

/// A measured number.
pub struct Figure {
    bench: String,
    what: String,
    unit: &'static str,
    measured: Spread,
    estimate: Option<f64>,
    goal: Option<Goal>,
}

/// The median, minimum and maximum of several runs.
#[derive(Clone, Copy)]
pub struct Spread {
    /// The median.
    pub median: f64,
    low: f64,
    high: f64,
    runs: usize,
}

/// What a figure should reach.
#[derive(Clone, Copy)]
pub enum Goal {
    /// At most this much.
    AtMost(f64),
    /// At least this much.
    AtLeast(f64),
}

impl Report {
    /// An empty report that describes the machine.
    pub fn begin() -> Self {
        let system = rustix::system::uname();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().and_then(|first| first.parse::<f64>().ok());
        let machine = json!({
            "cores": cores,
            "kernel": system.release().to_string_lossy(),
            "machine": system.machine().to_string_lossy(),
            "load_before": load,
        });
        Self { machine, figures: Vec::new() }
    }

    /// Adds to the description of the machine.
    pub fn note(&mut self, name: &str, what: &str) {
        self.machine[name] = what.into();
    }

    /// Adds a figure: its bench, what it is, its unit, and the value of each run.
    pub fn add(
        &mut self,
        bench: impl Into<String>,
        what: impl Into<String>,
        unit: &'static str,
        runs: &[f64],
    ) -> &mut Figure {
        let (bench, what, measured) = (bench.into(), what.into(), spread(runs));
        let figure = Figure { bench, what, unit, measured, estimate: None, goal: None };
        eprintln!("{}: {}: {:.2} {unit}", figure.bench, figure.what, figure.measured.median);
        self.figures.push(figure);
        self.figures.last_mut().expect("it was just pushed")
    }

    /// The median of a figure, if it was measured.
    #[must_use]
    pub fn median(&self, bench: &str, what: &str) -> Option<f64> {
        let found = self.figures.iter().find(|figure| figure.bench == bench && figure.what == what);
        found.map(|figure| figure.measured.median)
    }

    /// For each goal, whether it was met, and the figure.
    pub fn goals(&self) -> impl Iterator<Item = (bool, String)> {
        let met = |figure: &Figure| {
            let is_met = figure.goal?.is_met(figure.measured.median);
            Some((is_met, format!("{}: {}", figure.bench, figure.what)))
        };
        self.figures.iter().filter_map(met)
    }

    /// The machine and the figures as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let figures = self.figures.iter().map(|figure| {
            let Spread { median, low, high, runs } = figure.measured;
            json!({
                "bench": figure.bench, "what": figure.what, "unit": figure.unit,
                "median": median, "low": low, "high": high, "runs": runs,
                "estimate": figure.estimate, "goal": figure.goal.map(|goal| goal.to_string()),
                "met": figure.goal.map(|goal| goal.is_met(median)),
            })
        });
        let report = json!({ "machine": self.machine, "figures": figures.collect::<Vec<_>>() });
        format!("{report:#}\n")
    }
}

impl Figure {
    /// Sets what was expected before the first run.
    pub fn estimate(&mut self, estimate: f64) -> &mut Self {
        self.estimate = Some(estimate);
        self
    }

    /// Sets what it should reach.
    pub fn goal(&mut self, goal: Goal) {
        self.goal = Some(goal);
    }
}

/// The spread of the values of at least one run.
pub fn spread(runs: &[f64]) -> Spread {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
    Spread { median: sorted[sorted.len() / 2], low, high, runs: sorted.len() }
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(out, "<= {}", short(*most)),
            Self::AtLeast(least) => write!(out, ">= {}", short(*least)),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "machine: {}", self.machine)?;
        writeln!(
            out,
            "{:<12}{:<42}{:>10}{:>10}  {:<19}{:<8}{:<12}",
            "bench", "what", "estimate", "median", "least to greatest", "unit", "goal"
        )?;
        for Figure { bench, what, unit, measured, estimate, goal } in &self.figures {
            let estimate = estimate.map(short).unwrap_or_default();
            let Spread { median, low, high, .. } = *measured;
            let range = format!("{} to {}", short(low), short(high));
            let goal = goal.map_or_else(String::new, |goal| {
                format!("{goal} {}", if goal.is_met(median) { "met" } else { "MISSED" })
            });
            let median = short(median);
            let line = format!("{bench:<12}{what:<42}{estimate:>10}{median:>10}  {range:<19}");
            writeln!(out, "{}", format!("{line}{unit:<8}{goal}").trim_end())?;
        }
        Ok(())
    }
}

/// Formats a value with about three digits, more than a shared machine can reproduce.
#[must_use]
pub fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

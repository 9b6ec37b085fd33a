//! Figures, their table and their JSON.

use std::fmt;

use serde_json::{Value, json};

/// Everything that was measured, in order.
pub struct Report {
    machine: Value,
    figures: Vec<Figure>,
}

/// One measured number.
pub struct Figure {
    bench: String,
    what: String,
    unit: &'static str,
    measured: Spread,
    estimate: Option<f64>,
    goal: Option<Goal>,
}

/// The median of several runs, and the least and greatest.
#[derive(Clone, Copy)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    low: f64,
    high: f64,
    runs: usize,
}

/// What a figure should reach.
#[derive(Clone, Copy)]
pub enum Goal {
    /// It is good when it is so small.
    AtMost(f64),
    /// It is good when it is so great.
    AtLeast(f64),
}

impl Report {
    /// An empty one, with what the machine is.
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

    /// Adds what else the machine has.
    pub fn note(&mut self, name: &str, what: &str) {
        self.machine[name] = what.into();
    }

    /// Takes in a figure: of which bench, what, its unit, and the runs.
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

    /// The median of a figure, when it was measured.
    pub fn median(&self, bench: &str, what: &str) -> Option<f64> {
        let found = self.figures.iter().find(|figure| figure.bench == bench && figure.what == what);
        found.map(|figure| figure.measured.median)
    }

    /// Whether each goal was met, and whose it is.
    pub fn goals(&self) -> impl Iterator<Item = (bool, String)> {
        let met = |figure: &Figure| {
            let is_met = figure.goal?.is_met(figure.measured.median);
            Some((is_met, format!("{}: {}", figure.bench, figure.what)))
        };
        self.figures.iter().filter_map(met)
    }

    /// The machine and the figures.
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
    /// What was expected before the first run.
    pub fn estimate(&mut self, estimate: f64) -> &mut Self {
        self.estimate = Some(estimate);
        self
    }

    /// What it should reach.
    pub fn goal(&mut self, goal: Goal) {
        self.goal = Some(goal);
    }
}

/// The median of runs, of which there is at least one.
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

/// Three digits are all that a measurement on a shared machine can carry.
pub fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

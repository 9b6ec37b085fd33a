//! The results, as text and as JSON.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs};

use serde::Deserialize;
use serde_json::json;

const SIMULATION: &str = "simulation";
/// More seeds than the simulation can run in its time.
const SEEDS: usize = 1_000_000;
/// Tests of the simulation, which share the seeds.
const SHARES: usize = 4;

/// The results of a run.
pub struct Report {
    seed: u64,
    outcomes: Vec<CampaignOutcome>,
}

/// The results of one campaign.
pub struct CampaignOutcome {
    /// Its name.
    pub name: &'static str,
    /// The unit of its counts.
    pub unit: &'static str,
    /// The number of faults to inject.
    pub target: usize,
    /// The number of faults that were survived.
    pub done: usize,
    /// The number of data directories.
    pub cases: u64,
    /// Its duration.
    pub elapsed: Duration,
    /// What happened, and how often.
    pub tally: BTreeMap<String, usize>,
    /// The broken rules.
    pub failures: Vec<Failure>,
    /// Why it did not run.
    pub not_run: Option<String>,
}

/// What one of the simulation's tests reports of its seeds.
#[derive(Deserialize)]
struct Seeds {
    lived: usize,
    seconds: f64,
    failed: Option<u64>,
}

/// A broken rule.
#[derive(Debug)]
pub struct Failure {
    /// Which rule, and how.
    pub message: String,
    /// The command that repeats it.
    pub replay: String,
    /// The directory that was kept.
    pub kept: PathBuf,
}

impl Report {
    /// An empty report.
    pub fn new(seed: u64) -> Self {
        Self { seed, outcomes: Vec::new() }
    }

    /// Adds the results of a campaign.
    pub fn add(&mut self, outcome: CampaignOutcome) {
        self.outcomes.push(outcome);
    }

    /// Whether every campaign ran and no rule was broken. A campaign that survived no fault did not
    /// run.
    pub fn passed(&self) -> bool {
        let good = |outcome: &CampaignOutcome| {
            outcome.not_run.is_none() && outcome.failures.is_empty() && outcome.done > 0
        };
        !self.outcomes.is_empty() && self.outcomes.iter().all(good)
    }

    /// The report as JSON.
    pub fn json(&self) -> String {
        let campaigns = self.outcomes.iter().map(|outcome| {
            let failures = outcome.failures.iter().map(|failure| {
                json!({"message": failure.message, "replay": failure.replay, "kept": failure.kept})
            });
            json!({
                "campaign": outcome.name,
                "unit": outcome.unit,
                "target": outcome.target,
                "survived": outcome.done,
                "directories": outcome.cases,
                "seconds": outcome.elapsed.as_secs_f64(),
                "tally": outcome.tally,
                "failures": failures.collect::<Vec<_>>(),
                "not_run": outcome.not_run,
            })
        });
        let campaigns: Vec<_> = campaigns.collect();
        let passed = self.passed();
        json!({"seed": self.seed, "passed": passed, "campaigns": campaigns}).to_string() + "\n"
    }
}

impl CampaignOutcome {
    /// Reads the file that the simulation wrote: a line for each of its parallel tests.
    pub fn of_simulation(path: &Path) -> Self {
        let mut outcome = Self {
            name: SIMULATION,
            unit: "seeds, or the time,",
            target: SEEDS,
            done: 0,
            cases: 0,
            elapsed: Duration::ZERO,
            tally: BTreeMap::new(),
            failures: Vec::new(),
            not_run: Some(format!("{} lacks results of its tests", path.display())),
        };
        let Ok(text) = fs::read_to_string(path) else { return outcome };
        let mut output = 0;
        for line in text.lines() {
            let Ok(seeds) = serde_json::from_str::<Seeds>(line) else { continue };
            output += 1;
            outcome.done += seeds.lived;
            outcome.elapsed = outcome.elapsed.max(Duration::from_secs_f64(seeds.seconds));
            outcome.failures.extend(seeds.failed.map(|seed| Failure {
                message: format!("seed {seed} broke a rule, see above"),
                replay: format!("BROKER_SIM_SEED={seed} cargo test --release --lib simulation"),
                kept: path.to_owned(),
            }));
        }
        outcome.cases = outcome.done as u64;
        if output == SHARES {
            outcome.not_run = None;
        }
        outcome
    }

    /// Whether time ran out before all faults were injected. The simulation runs for a time, not
    /// for a number of seeds.
    fn is_short(&self) -> bool {
        self.done < self.target && self.name != SIMULATION
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\nseed {}", self.seed)?;
        self.outcomes.iter().try_for_each(|outcome| outcome.fmt(out))?;
        let elapsed: Duration = self.outcomes.iter().map(|outcome| outcome.elapsed).sum();
        let short = self.outcomes.iter().filter(|outcome| outcome.is_short());
        let short: Vec<_> = short.map(|outcome| outcome.name).collect();
        write!(
            out,
            "{}, {} s",
            if self.passed() { "passed" } else { "FAILED" },
            elapsed.as_secs()
        )?;
        match short.as_slice() {
            [] => writeln!(out),
            short => writeln!(out, ", out of time in {}", short.join(", ")),
        }
    }
}

impl fmt::Display for CampaignOutcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unit, target, done, cases, elapsed, .. } = self;
        if let Some(why) = &self.not_run {
            writeln!(out, "{name}: DID NOT RUN: {why}")?;
            return self.failures.iter().try_for_each(|failure| writeln!(out, "    {failure}"));
        }
        let (seconds, failed) = (elapsed.as_secs(), self.failures.len());
        writeln!(
            out,
            "{name}: {done} of {target} {unit} survived on {cases} directories in {seconds} s, {failed} failed"
        )?;
        let tally: Vec<_> =
            self.tally.iter().map(|(what, count)| format!("{count} {what}")).collect();
        if !tally.is_empty() {
            writeln!(out, "    {}", tally.join("; "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.message.chars().take(3_000).collect();
        write!(
            out,
            "FAILED: {shown}\n    repeat: {}\n    kept: {}",
            self.replay,
            self.kept.display()
        )
    }
}

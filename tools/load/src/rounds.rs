//! Measures each kind of server in turn, several times, because the machine drifts.

use broker_tools::Result;
use broker_tools::report::{Figure, Goal, Report};
use broker_tools::statistics::ratios;

use crate::outcome::Outcome;
use crate::protocol::ServerKind;
use crate::settings::Settings;

/// Outcomes by kind of server, in the order in which they were measured.
pub struct Rounds<T = Outcome> {
    bench: String,
    of: Vec<(ServerKind, Vec<T>)>,
}

/// A figure, unless its kind of server is not measured.
pub struct Measured<'a>(Option<&'a mut Figure>);

impl<T> Rounds<T> {
    /// Measures each kind that the settings name.
    pub fn measure(
        bench: String,
        settings: &Settings,
        kinds: &[ServerKind],
        mut once: impl FnMut(ServerKind) -> Result<T>,
    ) -> Result<Self> {
        let wanted = kinds.iter().filter(|kind| settings.kinds.contains(kind));
        let mut of: Vec<_> = wanted.map(|kind| (*kind, Vec::new())).collect();
        for _ in 0..settings.runs {
            for (kind, outcomes) in &mut of {
                let outcome = once(*kind);
                outcomes.push(outcome.map_err(|error| format!("{}: {error}", kind.name()))?);
            }
        }
        Ok(Self { bench, of })
    }

    /// Adds a figure of one kind.
    pub fn add<'a>(
        &self,
        report: &'a mut Report,
        kind: ServerKind,
        what: &str,
        unit: &'static str,
        figure: impl Fn(&T) -> f64,
    ) -> Measured<'a> {
        let runs = self.values(kind, figure);
        let what = format!("{}, {what}", kind.name());
        Measured(runs.map(|runs| report.add(self.bench.as_str(), what, unit, &runs)))
    }

    /// Adds the ratio of two kinds, run by run.
    pub fn ratio<'a>(
        &self,
        report: &'a mut Report,
        [kind, other]: [ServerKind; 2],
        what: &str,
        figure: impl Fn(&T) -> f64,
    ) -> Measured<'a> {
        let [values, others] = [kind, other].map(|kind| self.values(kind, &figure));
        let runs = values.zip(others).map(|(values, others)| ratios(&values, &others));
        let what = format!("{} / {}, {what}", kind.name(), other.name());
        Measured(runs.map(|runs| report.add(self.bench.as_str(), what, "x", &runs)))
    }

    /// A figure of one kind, run by run, unless it was not measured.
    pub fn values(&self, kind: ServerKind, figure: impl Fn(&T) -> f64) -> Option<Vec<f64>> {
        let (_, outcomes) = self.of.iter().find(|(found, _)| *found == kind)?;
        Some(outcomes.iter().map(figure).collect())
    }
}

impl Rounds<Outcome> {
    /// Adds whether everything was delivered once. Only Broker has to meet the goals.
    pub fn add_completeness(&self, report: &mut Report, kind: ServerKind) {
        let missing = self.add(report, kind, "deliveries missing", "%", Outcome::missing_percent);
        if kind == ServerKind::Broker {
            missing.goal(Goal::AtMost(0.0));
            let wrong = |outcome: &Outcome| outcome.incomplete as f64;
            let wrong = self.add(report, kind, "subscribers with wrong values", "", wrong);
            wrong.goal(Goal::AtMost(0.0));
            let outdated = |outcome: &Outcome| outcome.outdated as f64;
            let outdated =
                self.add(report, kind, "subscribers without the latest value", "", outdated);
            outdated.goal(Goal::AtMost(0.0));
        }
    }
}

impl Measured<'_> {
    /// Sets what was expected before the first run.
    pub fn estimate(self, estimate: f64) -> Self {
        Self(self.0.map(|figure| figure.estimate(estimate)))
    }

    /// Sets what it should reach.
    pub fn goal(self, goal: Goal) {
        if let Some(figure) = self.0 {
            figure.goal(goal);
        }
    }
}

//! The same for each kind of server in turn, several times, for the machine drifts.

use broker_bench::Result;
use broker_bench::report::{Figure, Goal, Report};

use crate::arguments::Settings;
use crate::run::Outcome;
use crate::speech::Kind;

/// Outcomes by kind, in the order in which they were measured.
pub struct Rounds<T = Outcome> {
    bench: String,
    of: Vec<(Kind, Vec<T>)>,
}

impl<T> Rounds<T> {
    /// Measures.
    pub fn measure(
        bench: String,
        settings: &Settings,
        kinds: &[Kind],
        mut once: impl FnMut(Kind) -> Result<T>,
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

    /// A figure of one kind, unless it was not measured.
    pub fn add<'a>(
        &self,
        report: &'a mut Report,
        kind: Kind,
        what: &str,
        unit: &'static str,
        figure: impl Fn(&T) -> f64,
    ) -> Option<&'a mut Figure> {
        let runs = self.values(kind, figure)?;
        Some(report.add(self.bench.as_str(), format!("{}, {what}", kind.name()), unit, &runs))
    }

    /// What one kind has of what another has, run by run.
    pub fn ratio<'a>(
        &self,
        report: &'a mut Report,
        [kind, other]: [Kind; 2],
        what: &str,
        figure: impl Fn(&T) -> f64,
    ) -> Option<&'a mut Figure> {
        let (values, others) = (self.values(kind, &figure)?, self.values(other, &figure)?);
        let runs: Vec<_> = values.iter().zip(others).map(|(value, other)| value / other).collect();
        let what = format!("{} / {}, {what}", kind.name(), other.name());
        Some(report.add(self.bench.as_str(), what, "x", &runs))
    }

    /// What one kind has, run by run, unless it was not measured.
    pub fn values(&self, kind: Kind, figure: impl Fn(&T) -> f64) -> Option<Vec<f64>> {
        let (_, outcomes) = self.of.iter().find(|(found, _)| *found == kind)?;
        Some(outcomes.iter().map(figure).collect())
    }
}

impl Rounds<Outcome> {
    /// Whether all came that was published, each once: of the others it is told, of Broker asked.
    pub fn add_whole(&self, report: &mut Report, kind: Kind) {
        let missing = self.add(report, kind, "deliveries missing", "%", Outcome::missing_percent);
        if !matches!(kind, Kind::Broker | Kind::Sockets) {
            return;
        }
        missing.map(|figure| figure.goal(Goal::AtMost(0.0)));
        let counts: [(_, fn(&Outcome) -> f64); 2] = [
            ("who got other than published", |outcome| outcome.incomplete as f64),
            ("who missed the newest", |outcome| outcome.outdated as f64),
        ];
        for (what, count) in counts {
            let figure = self.add(report, kind, what, "", count);
            figure.map(|figure| figure.goal(Goal::AtMost(0.0)));
        }
    }
}

//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use broker_bench::Result;

use crate::protocol::ServerKind;
use crate::run::UNDELIVERED_MAX;
use crate::scenarios::SCENARIOS;

/// The parsed command line.
pub struct Arguments {
    /// The name of a scenario, or `all`.
    pub what: String,
    /// File for the figures as JSON.
    pub json: Option<PathBuf>,
    /// File for the plot.
    pub svg: Option<PathBuf>,
    /// How much to measure.
    pub settings: Settings,
}

/// How much to measure.
pub struct Settings {
    /// How long a run publishes values.
    pub duration: Duration,
    /// Runs of each measurement.
    pub runs: usize,
    /// Number of subscribers, instead of what the scenario chooses.
    pub subscriber_count: Option<usize>,
    /// Maximum undelivered values of a subscriber while values are published as fast as possible.
    pub undelivered_max: usize,
    /// The servers to compare.
    pub kinds: Vec<ServerKind>,
}

impl Arguments {
    /// Parses the words of a command line.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let what = words.next().ok_or_else(usage)?;
        let duration = Duration::from_secs(3);
        let kinds = ServerKind::ALL.to_vec();
        let undelivered_max = UNDELIVERED_MAX;
        let settings =
            Settings { duration, runs: 3, subscriber_count: None, undelivered_max, kinds };
        let mut arguments = Self { what, json: None, svg: None, settings };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(usage)?;
            let settings = &mut arguments.settings;
            match word.as_str() {
                "--json" => arguments.json = Some(value.into()),
                "--runs" => settings.runs = count(&value)?,
                "--seconds" => settings.duration = Duration::from_secs(count(&value)? as u64),
                "--subscribers" => settings.subscriber_count = Some(count(&value)?),
                "--svg" => arguments.svg = Some(value.into()),
                "--targets" => settings.kinds = kinds_of(&value)?,
                "--undelivered" => settings.undelivered_max = count(&value)?,
                _ => return Err(usage()),
            }
        }
        Ok(arguments)
    }
}

/// The usage text.
pub fn usage() -> Box<dyn std::error::Error> {
    let scenarios = SCENARIOS.iter().map(|s| format!("  {:<12}{}\n", s.name, s.meaning));
    format!(
        "usage: broker-load WHAT [--targets bare,broker,nchan,redis] [--subscribers N] \
         [--seconds N] [--runs N] [--undelivered N] [--json FILE] [--svg FILE]\n\
         \x20 all         everything below\n{}",
        scenarios.collect::<String>()
    )
    .into()
}

fn kinds_of(names: &str) -> Result<Vec<ServerKind>> {
    let kind = |name: &str| match name {
        "bare" => Ok(ServerKind::Bare),
        "broker" => Ok(ServerKind::Broker),
        "nchan" => Ok(ServerKind::Nchan),
        "redis" => Ok(ServerKind::Redis),
        _ => Err(format!("{name} is none of bare, broker, nchan and redis").into()),
    };
    names.split(',').map(kind).collect()
}

/// Parses a number that is not zero.
fn count(value: &str) -> Result<usize> {
    match value.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(format!("{value} is not a number above zero").into()),
    }
}

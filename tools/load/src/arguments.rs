//! What is asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

use broker_bench::Result;

use crate::protocol::ServerKind;
use crate::run::UNDELIVERED_MAX;
use crate::scenarios::SCENARIOS;

/// What to run, how, and where to write it, besides the table on standard output.
pub struct Arguments {
    /// Which scenario, or `all`.
    pub what: String,
    /// Where the figures go.
    pub json: Option<PathBuf>,
    /// Where the plot goes.
    pub svg: Option<PathBuf>,
    /// How much is done.
    pub settings: Settings,
}

/// How much is done.
pub struct Settings {
    /// How long values are published in a run.
    pub duration: Duration,
    /// How often everything is measured.
    pub runs: usize,
    /// How many subscribe, where it is not for the scenario to say.
    pub subscriber_count: Option<usize>,
    /// The most values on their way to somebody while others follow as fast as they can.
    pub undelivered_max: usize,
    /// What is compared.
    pub kinds: Vec<ServerKind>,
}

impl Arguments {
    /// Reads them.
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

/// What there is to ask for.
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

/// A number that is not zero.
fn count(value: &str) -> Result<usize> {
    match value.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(format!("{value} is no number above zero").into()),
    }
}

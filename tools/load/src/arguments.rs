//! The command line.

use std::time::Duration;

use broker_tools::cli::{Output, positive};
use broker_tools::{Error, Result};

use crate::protocol::ServerKind;
use crate::scenarios::SCENARIOS;
use crate::settings::Settings;

/// The parsed command line.
pub struct Arguments {
    /// The name of a scenario, or `all`.
    pub what: String,
    /// Where the report goes.
    pub output: Output,
    /// How much to measure.
    pub settings: Settings,
}

impl Arguments {
    /// Parses the words of a command line.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let what = words.next().ok_or_else(usage)?;
        let (output, settings) = (Output::default(), Settings::default());
        let mut arguments = Self { what, output, settings };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(usage)?;
            let settings = &mut arguments.settings;
            match word.as_str() {
                "--json" => arguments.output.json = Some(value.into()),
                "--runs" => settings.runs = count(&value)?,
                "--seconds" => settings.duration = Duration::from_secs(positive(&value)?),
                "--subscribers" => settings.subscriber_count = Some(count(&value)?),
                "--svg" => arguments.output.svg = Some(value.into()),
                "--targets" => settings.kinds = kinds_of(&value)?,
                "--undelivered" => settings.undelivered_max = count(&value)?,
                _ => return Err(usage()),
            }
        }
        Ok(arguments)
    }
}

/// The usage text.
pub fn usage() -> Error {
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

fn count(value: &str) -> Result<usize> {
    Ok(positive(value)? as usize)
}

//! What is asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::Result;
use crate::{history, peers};

/// What there is to ask for.
pub const USAGE: &str = "usage: broker-bench WHAT [--json FILE] [--svg FILE]
  all|insert|burst|replay|memory
  sink     [--sent N]
  peers    --redis FILE --nats FILE --pocketbase FILE [--burst-seconds N]
  history  [--records N] [--rounds N] [--sustained-seconds N]
  compare  peers and history, with the flags of both";

/// What to run and where to write it, besides the table on standard output.
pub struct Arguments {
    /// Which bench.
    pub what: String,
    /// Where the figures go.
    pub json: Option<PathBuf>,
    /// Where the plot goes.
    pub svg: Option<PathBuf>,
    /// What `bare-server` appends to.
    pub file: Option<PathBuf>,
    /// Where `bare-server`, `sled-fill` and `sink-fill` make a database.
    pub index: Option<PathBuf>,
    /// How many versions `bare-server` and `sled-fill` put into an entry of that.
    pub block: u64,
    /// How many events `sled-fill` has.
    pub events: usize,
    /// How many events `sink` sends.
    pub sent: usize,
    /// What `peers` compares with.
    pub programs: peers::Programs,
    /// How long a burst of `peers` is.
    pub burst: Duration,
    /// How much `history` does.
    pub history: history::Settings,
}

impl Default for Arguments {
    fn default() -> Self {
        let sustained = Duration::from_secs(120);
        Self {
            what: String::new(),
            json: None,
            svg: None,
            file: None,
            index: None,
            block: history::BROKER_BLOCK,
            events: 10_000,
            sent: 1_000_000,
            programs: peers::Programs::default(),
            burst: Duration::from_secs(10),
            history: history::Settings { records: 10_000_000, rounds: 1, sustained },
        }
    }
}

impl Arguments {
    /// Reads them.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = Self { what: words.next().ok_or(USAGE)?, ..Self::default() };
        while let Some(word) = words.next() {
            let value = words.next().ok_or(USAGE)?;
            let seconds = |value: &str| count(value).map(Duration::from_secs);
            match word.as_str() {
                "--block" => arguments.block = count(&value)?,
                "--burst-seconds" => arguments.burst = seconds(&value)?,
                "--events" => arguments.events = count(&value)? as usize,
                "--file" => arguments.file = Some(value.into()),
                "--index" => arguments.index = Some(value.into()),
                "--json" => arguments.json = Some(value.into()),
                "--sustained-seconds" => arguments.history.sustained = seconds(&value)?,
                "--nats" => arguments.programs.nats = Some(value.into()),
                "--pocketbase" => arguments.programs.pocketbase = Some(value.into()),
                "--records" => arguments.history.records = count(&value)? as usize,
                "--redis" => arguments.programs.redis = Some(value.into()),
                "--rounds" => arguments.history.rounds = count(&value)? as usize,
                "--sent" => arguments.sent = count(&value)? as usize,
                "--svg" => arguments.svg = Some(value.into()),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(arguments)
    }
}

/// A number that is not zero.
fn count(value: &str) -> Result<u64> {
    match value.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(format!("{value} is no number above zero").into()),
    }
}

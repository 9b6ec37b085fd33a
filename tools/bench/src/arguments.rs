//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use broker_tools::Result;
use broker_tools::cli::{Output, positive};

use crate::history::{self, sled_alone::BROKER_BLOCK};
use crate::peers;

/// The usage text.
pub const USAGE: &str = "usage: broker-bench WHAT [--json FILE] [--svg FILE]
  all|insert|burst|replay|memory
  sink     [--sent N]
  peers    --redis FILE --nats FILE --pocketbase FILE [--burst-seconds N]
  history  [--records N] [--rounds N] [--sustained-seconds N]
  compare  peers and history, with the flags of both";

/// The parsed command line.
pub struct Arguments {
    /// The bench to run.
    pub what: String,
    /// Where the report goes.
    pub output: Output,
    /// The file that `bare-server` appends to.
    pub file: Option<PathBuf>,
    /// Where `bare-server`, `sled-fill` and `sink-fill` create a database.
    pub index: Option<PathBuf>,
    /// Versions in an entry of the database of `bare-server` and `sled-fill`.
    pub block: u64,
    /// Number of events of `sled-fill`.
    pub events: usize,
    /// Number of events that `sink` sends.
    pub sent: usize,
    /// The programs of `peers`.
    pub programs: peers::Programs,
    /// Duration of a burst of `peers`.
    pub burst: Duration,
    /// The settings of `history`.
    pub history: history::Settings,
}

impl Default for Arguments {
    fn default() -> Self {
        let sustained = Duration::from_secs(120);
        Self {
            what: String::new(),
            output: Output::default(),
            file: None,
            index: None,
            block: BROKER_BLOCK,
            events: 10_000,
            sent: 1_000_000,
            programs: peers::Programs::default(),
            burst: Duration::from_secs(10),
            history: history::Settings { records: 10_000_000, rounds: 1, sustained },
        }
    }
}

impl Arguments {
    /// Parses the words of a command line.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = Self { what: words.next().ok_or(USAGE)?, ..Self::default() };
        while let Some(word) = words.next() {
            let value = words.next().ok_or(USAGE)?;
            let seconds = |value: &str| positive(value).map(Duration::from_secs);
            match word.as_str() {
                "--block" => arguments.block = positive(&value)?,
                "--burst-seconds" => arguments.burst = seconds(&value)?,
                "--events" => arguments.events = positive(&value)? as usize,
                "--file" => arguments.file = Some(value.into()),
                "--index" => arguments.index = Some(value.into()),
                "--json" => arguments.output.json = Some(value.into()),
                "--sustained-seconds" => arguments.history.sustained = seconds(&value)?,
                "--nats" => arguments.programs.nats = Some(value.into()),
                "--pocketbase" => arguments.programs.pocketbase = Some(value.into()),
                "--records" => arguments.history.records = positive(&value)? as usize,
                "--redis" => arguments.programs.redis = Some(value.into()),
                "--rounds" => arguments.history.rounds = positive(&value)? as usize,
                "--sent" => arguments.sent = positive(&value)? as usize,
                "--svg" => arguments.output.svg = Some(value.into()),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(arguments)
    }
}

//! A projection that counts the versions of each event in the log, exactly once.
//!
//! ```sh
//! printf 'tea\ncoffee\ntea\n' | cargo run --example projection -- words-data counts.json
//! ```
//!
//! Each input line is inserted as an event of that name, and the counts are printed as they change,
//! until Ctrl-C. `replay=all` delivers every version. The counts are stored in a file together with
//! their cursor, and replaced atomically: after a restart counting continues at the cursor, so
//! nothing is counted twice. A reset means that the cursor belongs to another log.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::future::Future;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::pin::pin;

use broker::{Broker, Config, NewEvent, ReplayMode, Resume, Subscribe, SubscriberError};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio_util::codec::{FramedRead, LinesCodec};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Maximum records counted between two writes of the file.
const CHUNK_RECORDS_MAX: usize = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap_or("words-data".to_owned());
    let file = arguments.next().unwrap_or("counts.json".to_owned());
    let broker = Broker::open(Config::default().data_dir(directory)).await?;
    let words = FramedRead::new(tokio::io::stdin(), LinesCodec::new())
        .map(|word| Ok(NewEvent::new(word?.trim(), &())?))
        .forward(broker.sink().sink_err_into());
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    let counting = run(&broker, Path::new(&file), stop);
    let (inserted, counted) = futures::join!(words.inspect(report_error), counting);
    broker.shutdown().await;
    inserted.and(counted.map(drop))
}

/// Reports a failed insert while counting goes on.
fn report_error(inserted: &Result<()>) {
    if let Err(error) = inserted {
        eprintln!("a word was not inserted: {error}");
    }
}

/// The counts, and the position that they cover.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Number of versions by event.
    pub events: BTreeMap<String, u64>,
    /// Where counting continues.
    pub cursor: Option<String>,
}

/// Counts until `stop`, or until the broker shuts down.
///
/// # Errors
///
/// If the log cannot be read, or the file cannot be read or written.
pub async fn run(broker: &Broker, file: &Path, stop: impl Future<Output = ()>) -> Result<Counts> {
    let mut counts = Counts::load(file)?;
    let resume = match &counts.cursor {
        None => Resume::Fresh,
        // An unreadable cursor is treated like one of another log.
        Some(cursor) => cursor.parse().map_or(Resume::Lost, Resume::After),
    };
    let subscribe = Subscribe { resume, replay: ReplayMode::All, ..Subscribe::default() };
    let mut chunks = broker.subscribe(subscribe).ready_chunks(CHUNK_RECORDS_MAX);
    let mut stop = pin!(stop);
    loop {
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk,
            () = &mut stop => None,
        };
        let Some(chunk) = chunk else { return Ok(counts) };
        for record in chunk {
            match record {
                Ok(record) => *counts.events.entry(record.event().to_string()).or_default() += 1,
                Err(SubscriberError::Reset) => counts.events.clear(),
                Err(error) => return Err(error.into()),
            }
        }
        counts.cursor = Some(chunks.get_ref().cursor().to_string());
        counts.store(file)?;
        println!("{:?}", counts.events);
    }
}

impl Counts {
    fn load(file: &Path) -> Result<Self> {
        match fs::read(file) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the file atomically; counts that a power cut loses are counted again from the log.
    fn store(&self, file: &Path) -> Result<()> {
        let new = file.with_extension("new");
        let mut out = File::create(&new)?;
        out.write_all(&serde_json::to_vec(self)?)?;
        out.sync_all()?;
        Ok(fs::rename(new, file)?)
    }
}

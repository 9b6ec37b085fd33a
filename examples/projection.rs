//! A projection: how many versions each event has, counted from the log, once each.
//!
//! ```sh
//! printf 'tea\ncoffee\ntea\n' | cargo run --example projection -- words-data counts.json
//! ```
//!
//! Each line of the input is inserted as an event of that name, and the counts are printed as they
//! change, until Ctrl-C. `replay=all` gives every version, none conflated. The counts are kept in a
//! file together with the cursor up to which they count, and replaced as one: started again, it goes
//! on after that, and never counts twice. A reset says that the cursor is of another log.

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

/// Records that are counted between two writes of the file, at most.
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

/// While the counting goes on.
fn report_error(inserted: &Result<()>) {
    if let Err(error) = inserted {
        eprintln!("a word was not inserted: {error}");
    }
}

/// What was counted, and up to where.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Versions by event.
    pub events: BTreeMap<String, u64>,
    /// Where the counting goes on.
    pub cursor: Option<String>,
}

/// Counts until `stop`, or until the broker shuts down.
pub async fn run(broker: &Broker, file: &Path, stop: impl Future<Output = ()>) -> Result<Counts> {
    let mut counts = Counts::load(file)?;
    let resume = match &counts.cursor {
        None => Resume::Fresh,
        // One that cannot be read is as good as one of another log.
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

    /// Whole or not at all; counts that a power cut takes are counted again from the log.
    fn store(&self, file: &Path) -> Result<()> {
        let new = file.with_extension("new");
        let mut out = File::create(&new)?;
        out.write_all(&serde_json::to_vec(self)?)?;
        out.sync_all()?;
        Ok(fs::rename(new, file)?)
    }
}

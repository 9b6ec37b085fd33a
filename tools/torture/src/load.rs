//! Clients that insert, and a subscriber that follows, while a campaign acts on the server.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use broker_tools::{Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::http::{Client, Connection};
use crate::ledger::{Ledger, Outcome, Receipt, Request};

const WRITERS: usize = 4;
const LOAD_MAX: Duration = Duration::from_secs(20);
/// Large inserts of 40 KiB on average: three times as many exceed the first segment.
const BULK: usize = 12;
/// Pause of a client after a refusal; shorter than what `Retry-After` asks for.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);

/// The progress of a load.
#[derive(Default)]
pub struct Progress {
    /// Acknowledged requests.
    pub acknowledged: AtomicUsize,
    writing: AtomicUsize,
    stop: AtomicBool,
    refusals: Mutex<BTreeMap<String, usize>>,
}

impl Progress {
    /// Waits until `acknowledged` requests were acknowledged, no writer is left, or `limit` has
    /// passed.
    pub fn until(&self, acknowledged: usize, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.acknowledged.load(Ordering::Relaxed) < acknowledged
            && self.writing.load(Ordering::Relaxed) > 0
            && Instant::now() < deadline
        {
            thread::park_timeout(Duration::from_micros(200));
        }
    }

    /// Whether a writer still has a connection.
    pub fn is_running(&self) -> bool {
        self.writing.load(Ordering::Relaxed) > 0
    }

    /// How often a problem code was the answer.
    pub fn refused(&self, code: &str) -> usize {
        self.refusals.lock().expect("writers do not panic").get(code).copied().unwrap_or(0)
    }
}

/// Loads a server during `act`, and until every client has its answer or lost its connection.
/// Everything is recorded in the ledger.
pub fn run<T>(
    ledger: &mut Ledger,
    client: Client,
    random: &mut StdRng,
    act: impl FnOnce(&Progress) -> Result<T>,
) -> Result<T> {
    let progress = Progress { writing: AtomicUsize::new(WRITERS), ..Progress::default() };
    let seeds: [u64; WRITERS] = std::array::from_fn(|_| random.random());
    let large_one_in = ledger.large_one_in();
    let mut subscriber = ledger.subscribers.first().cloned().unwrap_or_default();
    let (acted, written, watched) = thread::scope(|scope| {
        let progress = &progress;
        let writers = seeds.map(|seed| {
            scope.spawn(move || {
                let mut requests = Vec::new();
                let random = StdRng::seed_from_u64(seed);
                let end = write(client, random, large_one_in, progress, &mut requests);
                progress.writing.fetch_sub(1, Ordering::Relaxed);
                (requests, end)
            })
        });
        let watcher = scope.spawn(|| subscriber.watch(client, &progress.stop));
        let acted = act(progress);
        progress.stop.store(true, Ordering::Relaxed);
        let written = writers.map(|writer| writer.join().expect("writers do not panic"));
        (acted, written, watcher.join().expect("subscribers do not panic"))
    });
    let mut ends = Vec::new();
    for (requests, end) in written {
        ledger.requests.extend(requests);
        ends.push(end);
    }
    match ledger.subscribers.first_mut() {
        Some(first) => *first = subscriber,
        None => ledger.subscribers.push(subscriber),
    }
    let acted = acted?;
    ends.into_iter().collect::<Result<Vec<()>>>()?;
    watched?;
    Ok(acted)
}

/// Loads a server until this many requests are acknowledged.
pub fn until_acknowledged(
    ledger: &mut Ledger,
    client: Client,
    random: &mut StdRng,
    requests: usize,
) -> Result {
    run(ledger, client, random, |progress| {
        progress.until(requests, LOAD_MAX);
        Ok(())
    })
}

/// Inserts large values, so that the journal has several segments.
pub fn bulk(ledger: &mut Ledger, client: Client, random: &mut StdRng) -> Result {
    for _ in 0..BULK {
        let mut request = Request::large(random);
        let answer = client.insert(&request.body())?;
        request.record_answer(&answer)?;
        ledger.requests.push(request);
    }
    Ok(())
}

fn write(
    client: Client,
    mut random: StdRng,
    large_one_in: u32,
    progress: &Progress,
    requests: &mut Vec<Request>,
) -> Result {
    let Ok(mut connection) = Connection::open(client.0) else { return Ok(()) };
    let mut latest = 0;
    while !progress.stop.load(Ordering::Relaxed) {
        if random.random_bool(0.05) && !retry_one(&mut connection, &mut random, requests)? {
            return Ok(());
        }
        let request = Request::random(&mut random, latest, large_one_in);
        requests.push(request);
        let request = requests.last_mut().expect("it was just pushed");
        let Some(answer) = post(&mut connection, &request.body())? else { return Ok(()) };
        request.record_answer(&answer)?;
        match &request.outcome {
            Outcome::Acknowledged(receipts) => {
                latest = Receipt::of(&receipts[0])?.version;
                progress.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Refused(code) => {
                *progress
                    .refusals
                    .lock()
                    .expect("writers do not panic")
                    .entry(code.clone())
                    .or_default() += 1;
                if answer.is_refusal() {
                    thread::park_timeout(REFUSED_PAUSE);
                }
            }
            Outcome::Unknown => {}
        }
    }
    Ok(())
}

/// Sends an acknowledged request again, which must get the same receipt or an explicit error.
/// Returns false when the connection is gone.
fn retry_one(
    connection: &mut Connection,
    random: &mut StdRng,
    requests: &[Request],
) -> Result<bool> {
    if requests.is_empty() {
        return Ok(true);
    }
    let request = &requests[random.random_range(0..requests.len())];
    let Outcome::Acknowledged(before) = &request.outcome else { return Ok(true) };
    if !request.is_safe_to_retry() {
        return Ok(true);
    }
    let Some(answer) = post(connection, &request.body())? else { return Ok(false) };
    if answer.is_refusal() {
        return Ok(true);
    }
    let mut again = request.clone();
    again.record_answer(&answer)?;
    let same = answer.status == 200 && again.outcome == request.outcome;
    ensure!(same, "a retry got {answer:?} instead of 200 {before:?}");
    Ok(true)
}

/// Inserts, and returns the answer, or `None` when the connection ended first. Neither of them in
/// time is an error: a server that hangs has to stop.
fn post(connection: &mut Connection, body: &str) -> Result<Option<crate::http::Answer>> {
    let headers = "Content-Type: application/json\r\n";
    let sent = Instant::now();
    let answer =
        connection.send("POST", "/insert", headers, body).and_then(|()| connection.answer());
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) => {
            let hung = sent.elapsed() >= crate::http::ANSWER_MAX;
            ensure!(
                !hung,
                "an insert got neither an answer nor a closed connection in {:?}: {error}",
                sent.elapsed()
            );
            Ok(None)
        }
    }
}

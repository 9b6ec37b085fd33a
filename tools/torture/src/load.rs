//! Clients that insert and a page that watches, while something else happens to the server.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::http::{Client, Connection};
use crate::ledger::{Ledger, Outcome, Receipt, Request};
use crate::{Result, ensure};

const WRITERS: usize = 4;
/// Large inserts of 40 KiB on average: three times, they are more than a first segment holds.
const BULK: usize = 12;
/// After a refusal a client waits a little, as `Retry-After` would have it wait for longer.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);

/// How a load goes.
#[derive(Default)]
pub struct Progress {
    /// Requests that were acknowledged.
    pub acknowledged: AtomicUsize,
    writing: AtomicUsize,
    stop: AtomicBool,
    refusals: Mutex<BTreeMap<String, usize>>,
}

impl Progress {
    /// Waits until so many were acknowledged, or no writer is left, or for the time.
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

    /// How often a code was answered.
    pub fn refused(&self, code: &str) -> usize {
        self.refusals.lock().expect("no writer panics").get(code).copied().unwrap_or(0)
    }
}

/// Loads a server while `act` does what it does, and then until every client has its answer or
/// lost its connection. All of it goes into the ledger.
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
        let written = writers.map(|writer| writer.join().expect("no writer panics"));
        (acted, written, watcher.join().expect("no watcher panics"))
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

/// Inserts large values, so that there are several segments.
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
        let request = requests.last_mut().expect("it was pushed");
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
                    .expect("no writer panics")
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

/// Sends again what was acknowledged: the same receipt, or an explicit error. False when the
/// connection is gone.
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
    ensure!(same, "a retry is answered {answer:?} instead of 200 {before:?}");
    Ok(true)
}

/// The answer; `None` when the connection ended before it came. None at all in time is an error:
/// a server that hangs has to end.
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
                "an insert got neither an answer nor an end in {:?}: {error}",
                sent.elapsed()
            );
            Ok(None)
        }
    }
}

//! A stop while ten thousand listen and others insert: how long it takes, and whether everything
//! that was acknowledged is there after the next start.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use broker_tools::Result;
use broker_tools::http::{Client, get, post};
use broker_tools::report::{Goal, Report};

use crate::protocol::ServerKind::Broker;
use crate::settings::Settings;
use crate::target::Target;

const SUBSCRIBERS: usize = 10_000;
const INSERTERS: u64 = 8;
/// Of each inserting client, before the stop.
const INSERTS_MIN: u64 = 100;
const POLL_EVERY: Duration = Duration::from_millis(5);

/// Seconds: each stream is woken, writes its last line and is closed, 50 us on two workers; closing
/// log and projection takes 0.1 s.
const ESTIMATE: f64 = 0.5;

/// Measures and reports.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let count = settings.subscriber_count.unwrap_or(SUBSCRIBERS);
    let mut seconds = Vec::new();
    let mut acknowledged = 0;
    for _ in 0..settings.runs {
        // The subscribers stay connected until the server stops.
        let (mut target, _subscribers) = Target::subscribed(Broker, count)?;
        let counts: Vec<_> = (0..INSERTERS).map(|_| AtomicU64::new(0)).collect();
        let address = target.address();
        let ended = thread::scope(|scope| {
            for (inserter, count) in counts.iter().enumerate() {
                scope.spawn(move || insert(address, inserter, count));
            }
            while counts.iter().any(|count| count.load(Ordering::Relaxed) < INSERTS_MIN) {
                if target.server.has_exited()? {
                    return Err("the server ended too early".into());
                }
                thread::sleep(POLL_EVERY);
            }
            target.server.stop()
        })?;
        seconds.push(ended.as_secs_f64());
        let target = target.restart()?;
        acknowledged += find(&target, &counts)?;
    }
    let what = format!("broker, from SIGTERM to the end, {count} streams");
    let figure = report.add("drain", &what, "s", &seconds);
    figure.estimate(ESTIMATE).goal(Goal::AtMost(5.0));
    report.add("drain", "acknowledged before it and there after it", "", &[acknowledged as f64]);
    Ok(())
}

/// Inserts and counts acknowledgements, until the server refuses or is gone.
fn insert(address: SocketAddr, inserter: usize, acknowledged: &AtomicU64) {
    let Ok(mut client) = Client::connect(address) else { return };
    let request = post("/insert", &format!("{{\"event\":\"{}\",\"data\":1}}", event(inserter)));
    while client.call(&request, 201).is_ok() {
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads each version up to the last acknowledged one.
fn find(target: &Target, counts: &[AtomicU64]) -> Result<u64> {
    let mut client = Client::connect(target.address())?;
    let mut found = 0;
    for (inserter, count) in counts.iter().enumerate() {
        for version in 1..=count.load(Ordering::Relaxed) {
            let path = format!("/audit/{}/{version}", event(inserter));
            client.call(&get(&path, ""), 200)?;
            found += 1;
        }
    }
    Ok(found)
}

fn event(inserter: usize) -> String {
    format!("drain.{inserter}")
}

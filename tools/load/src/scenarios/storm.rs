//! Ten thousand subscribers lose their connections and reconnect at once with their cursors, while
//! others insert.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use broker_tools::Result;
use broker_tools::http::{ACCEPT_EVENTS, Client, TIMEOUT, get, read_until};
use broker_tools::report::{Goal, Report};
use broker_tools::statistics::quantile;
use broker_tools::workload::Workload;

use crate::periodic::Periodic;
use crate::protocol::ServerKind::Broker;
use crate::settings::Settings;
use crate::socket;
use crate::subscribers::{Clients, Subscribers};
use crate::target::Target;

const SUBSCRIBERS: usize = 10_000;
/// The number of latest values, of which reconnecting subscribers lack one: a subscriber that
/// receives more was not resumed at its cursor.
const VALUES: usize = 100;
const TARGET: &str = "/events?event=storm.%3E";
const INSERTS_PER_SECOND: f64 = 200.0;
/// How long inserts are timed before the storm.
const CALM: Duration = Duration::from_secs(1);

/// Seconds, as for new connections: finding one value by index costs nothing compared with
/// accepting a connection.
const ESTIMATE: f64 = 0.6;
/// Milliseconds: an insert waits for the subscribers and for streams that are being created.
const ESTIMATE_P99_MS: f64 = 10.0;

/// Measures and reports.
pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let storms = (0..settings.runs).map(|_| storm(settings)).collect::<Result<Vec<_>>>()?;
    let runs = |of: fn(&Storm) -> f64| storms.iter().map(of).collect::<Vec<_>>();
    let bench = "storm";
    let figure = report.add(bench, "broker, until all are synced", "s", &runs(|s| s.seconds));
    figure.estimate(ESTIMATE);
    let wrong = report.add(bench, "broker, subscribers with wrong values", "", &runs(|s| s.wrong));
    wrong.goal(Goal::AtMost(0.0));
    report.add(bench, "broker, insert p99, before", "ms", &runs(|s| s.calm_p99_ms));
    let figure = report.add(bench, "broker, insert p99, in the storm", "ms", &runs(|s| s.p99_ms));
    figure.estimate(ESTIMATE_P99_MS);
    Ok(())
}

struct Storm {
    seconds: f64,
    /// Subscribers that received anything but the one new value.
    wrong: f64,
    calm_p99_ms: f64,
    p99_ms: f64,
}

fn storm(settings: &Settings) -> Result<Storm> {
    let target = Target::start(Broker)?;
    let count = settings.subscriber_count.unwrap_or(SUBSCRIBERS);
    target.fill(0..VALUES, |index| format!("storm.{index:03}"))?;
    let mut subscribers = Subscribers::new()?;
    subscribers.connect(&target.clients(count), |_| get(TARGET, ACCEPT_EVENTS))?;
    let cursor = cursor(&target)?;
    subscribers.disconnect();
    target.fill(VALUES..VALUES + 1, |_| "storm.000".to_owned())?;
    let calm = inserts(&target)?;
    thread::sleep(CALM);
    let calm = calm.end()?;
    let during = inserts(&target)?;
    subscribers.reset();
    let clients = Clients { first_values: 1, ..target.clients(count) };
    let headers = format!("{ACCEPT_EVENTS}Last-Event-ID: {cursor}\r\n");
    let started = Instant::now();
    subscribers.connect(&clients, |_| get(TARGET, &headers))?;
    let seconds = started.elapsed().as_secs_f64();
    let during = during.end()?;
    Ok(Storm {
        seconds,
        wrong: subscribers.incomplete(1, VALUES as u64) as f64,
        calm_p99_ms: quantile(&calm, 0.99) / 1e3,
        p99_ms: quantile(&during, 0.99) / 1e3,
    })
}

/// Inserts an event that nobody listens to.
fn inserts(target: &Target) -> Result<Periodic> {
    let insert = Workload::new(8).insert(0);
    let mut client = Client::connect(target.address())?;
    Ok(Periodic::start(INSERTS_PER_SECOND, move || client.call(&insert, 201).map(|_| ())))
}

/// The cursor of a subscriber that has received everything: the id of the `synced` block. All have
/// the same selector, so it is valid for all.
fn cursor(target: &Target) -> Result<String> {
    let mut stream = socket::connect(target.address(), 0)?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&get(TARGET, ACCEPT_EVENTS))?;
    let is_synced = |bytes: &[u8]| memchr::memmem::find(bytes, b"event:broker:synced").is_some();
    let answer = read_until(&mut stream, is_synced)?;
    let answer = String::from_utf8(answer)?;
    let (before, _) = answer.split_once("event:broker:synced").ok_or("no `synced` block")?;
    let (_, cursor) = before.rsplit_once("id:").ok_or("a block has no id")?;
    Ok(cursor.trim().to_owned())
}

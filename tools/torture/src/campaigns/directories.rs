//! Jumps of the clock, second processes, and directories that are foreign, copied, or rolled back
//! to an earlier copy.

use std::fs;
use std::path::Path;
use std::time::Duration;

use broker_tools::{Result, ensure};
use rand::Rng as _;

use crate::campaign::{Campaign, Case, Storage};
use crate::files::{copy_all, read_all};
use crate::ledger::{Ledger, Outcome, Request};
use crate::load;
use crate::server::{START_MAX, Server, ServerConfig};
use crate::server_texts;
use crate::shim::Shim;
use crate::subscriber::Subscriber;

/// The campaign.
pub const CAMPAIGN: Campaign = Campaign {
    name: "directories",
    unit: "scenarios",
    ci: 20,
    hour: 200,
    share: 4,
    mounts: false,
    storage: Storage::Both,
    run,
};

const DAY_MS: i64 = 86_400_000;
const JUMPS: usize = 8;

type Scenario = fn(&mut Case<'_>) -> Result;

fn run(case: &mut Case<'_>) -> Result {
    let scenarios: [(&str, Scenario); 5] = [
        ("clock that jumps", clock_jumps),
        ("second process", second_process),
        ("foreign directory", foreign),
        ("copied directory", |case| diverging_copy(case, false)),
        ("directory rolled back", |case| diverging_copy(case, true)),
    ];
    let (what, scenario) = scenarios[case.index as usize % scenarios.len()];
    scenario(case).map_err(|error| format!("{what}: {error}"))?;
    case.survived(what);
    Ok(())
}

fn insert_some(
    case: &mut Case<'_>,
    server: &Server,
    ledger: &mut Ledger,
    requests: usize,
) -> Result {
    load::until_acknowledged(ledger, server.client(), &mut case.random, requests)
}

/// Times in the log never go back (`log` checks that), under load and across starts.
fn clock_jumps(case: &mut Case<'_>) -> Result {
    let dir = case.dir.clone();
    let shim = Shim::new(case.tools, &dir)?;
    let config = ServerConfig::new(&dir).with(&shim);
    let mut ledger = Ledger::default();
    let mut server = config.serve()?;
    for _ in 0..JUMPS {
        let ms = match case.random.random_range(0..4) {
            0 => case.random.random_range(-5_000..5_000),
            1 => case.random.random_range(-400 * DAY_MS..400 * DAY_MS),
            2 => case.random.random_range(-50 * 365 * DAY_MS..200 * 365 * DAY_MS),
            // Before 1970, as on a machine whose clock was never set.
            _ => -57 * 365 * DAY_MS - case.random.random_range(0..DAY_MS),
        };
        load::run(&mut ledger, server.client(), &mut case.random, |progress| {
            progress.until(15, Duration::from_secs(20));
            shim.set_clock(ms)?;
            progress.until(30, Duration::from_secs(20));
            Ok(())
        })
        .map_err(|error| format!("clock moved by {ms} ms: {error}"))?;
        if case.random.random_bool(0.5) {
            if case.random.random_bool(0.5) {
                server.stop()?;
            } else {
                server.kill()?;
            }
            server = config.spawn()?;
            if let Some(exit) = server.wait_until_serving(START_MAX)? {
                exit.explanation()?;
                ensure!(
                    ms < -56 * 365 * DAY_MS,
                    "no start with the clock moved by {ms} ms: {exit:?}"
                );
                case.note("starts before 1970 that were refused");
                shim.set_clock(0)?;
                server = config.serve()?;
            }
            ledger.check(server.client(), &mut case.random)?;
        }
    }
    server.stop()?;
    shim.set_clock(0)?;
    let server = config.serve()?;
    ledger.check(server.client(), &mut case.random)?;
    server.stop()
}

/// A second process is refused and learns who uses the directory; the first is not disturbed.
fn second_process(case: &mut Case<'_>) -> Result {
    let dir = case.dir.clone();
    let (one, other) = (dir.join("one"), dir.join("other"));
    fs::create_dir(&one)?;
    fs::create_dir(&other)?;
    let data = dir.join("data");
    let first = ServerConfig { data: Some(&data), ..ServerConfig::new(&one) };
    let second = ServerConfig { data: Some(&data), ..ServerConfig::new(&other) };
    let mut ledger = Ledger::default();
    let server = first.serve()?;
    let pid = server.pid().to_string();
    load::run(&mut ledger, server.client(), &mut case.random, |progress| {
        for n in 1..=5 {
            progress.until(n * 10, Duration::from_secs(20));
            let mut late = second.spawn()?;
            let exit = late.wait_until_serving(START_MAX)?.ok_or("a second process serves")?;
            let sentence = exit.explanation()?;
            ensure!(
                sentence.contains(server_texts::IN_USE) && sentence.contains(&pid),
                "{sentence}"
            );
        }
        Ok(())
    })?;
    ledger.check(server.client(), &mut case.random)?;
    server.kill()?;
    // Two starts at once, on the directory that the kill left and on an empty one: one serves.
    for fresh in [false, true] {
        if fresh {
            fs::remove_dir_all(&data)?;
            ledger = Ledger::default();
        }
        let mut both = [first.spawn()?, second.spawn()?];
        let mut ends = Vec::new();
        for server in &mut both {
            ends.push(server.wait_until_serving(START_MAX)?);
        }
        let [a, b] = both;
        let (serving, exit) = match (ends.remove(0), ends.remove(0)) {
            (None, Some(exit)) => (a, exit),
            (Some(exit), None) => (b, exit),
            ends => return Err(format!("of two concurrent starts: {ends:?}").into()),
        };
        exit.explanation()?;
        insert_some(case, &serving, &mut ledger, 20)?;
        ledger.check(serving.client(), &mut case.random)?;
        serving.stop()?;
    }
    Ok(())
}

/// Foreign directories are refused and not touched.
fn foreign(case: &mut Case<'_>) -> Result {
    let dir = case.dir.clone();
    let data = dir.join("data");
    let config = ServerConfig::new(&dir);
    for name in
        ["notes.txt", "journal/00000000000000000001.seg", "projection/db", "identity", "mark"]
    {
        fs::create_dir_all(data.join(name).parent().unwrap_or(&data))?;
        let bytes: Vec<u8> =
            (0..case.random.random_range(1..5_000)).map(|_| case.random.random()).collect();
        fs::write(data.join(name), bytes)?;
        ensure_refused_untouched(&config, &data, name)?;
        fs::remove_dir_all(&data)?;
    }
    // A data directory without its identity is not treated as an empty one.
    let mut ledger = Ledger::default();
    let server = config.serve()?;
    insert_some(case, &server, &mut ledger, 20)?;
    server.stop()?;
    let identity = fs::read(data.join("identity"))?;
    fs::remove_file(data.join("identity"))?;
    ensure_refused_untouched(&config, &data, "a directory without identity")?;
    // Neither with the identity of another log.
    let other = dir.join("other");
    fs::create_dir(&other)?;
    ServerConfig::new(&other).serve()?.stop()?;
    fs::copy(other.join("data/identity"), data.join("identity"))?;
    // sled is opened before the journal is checked, so only the journal must be unchanged.
    let journal = read_all(&data.join("journal"))?;
    let exit = config
        .spawn()?
        .wait_until_serving(START_MAX)?
        .ok_or("the log of another identity is served")?;
    ensure!(exit.explanation()?.contains(server_texts::ANOTHER_LOG), "{exit:?}");
    ensure!(read_all(&data.join("journal"))? == journal, "the log of another identity changed");
    fs::write(data.join("identity"), identity)?;
    let server = config.serve()?;
    ledger.check(server.client(), &mut case.random)?;
    server.stop()
}

fn ensure_refused_untouched(config: &ServerConfig<'_>, data: &Path, what: &str) -> Result {
    let before = read_all(data)?;
    let mut server = config.spawn()?;
    let exit = server.wait_until_serving(START_MAX)?.ok_or_else(|| format!("{what}: served"))?;
    exit.explanation()?;
    let mut after = read_all(data)?;
    // The lock contains the id of the last process that looked.
    let lock = data.join("lock");
    if let Some(pid) = before.get(&lock) {
        after.insert(lock, pid.clone());
    }
    ensure!(after == before, "{what}: changed");
    Ok(())
}

/// Copies the directory of a stopped or frozen server; then original and copy diverge. A cursor of
/// one must be reset by the other, unless it is older than the copy. The copy may also replace the
/// original, which is a roll back.
fn diverging_copy(case: &mut Case<'_>, rolls_back: bool) -> Result {
    let dir = case.dir.clone();
    let (original_dir, copy_dir) = (dir.join("original"), dir.join("copy"));
    fs::create_dir(&original_dir)?;
    fs::create_dir(&copy_dir)?;
    let original = ServerConfig::new(&original_dir).any_snapshots(&mut case.random);
    let copy = ServerConfig { dir: &copy_dir, ..original };
    let mut ledger = Ledger::default();
    let server = original.serve()?;
    insert_some(case, &server, &mut ledger, 30)?;
    ledger.check(server.client(), &mut case.random)?;
    let running = case.random.random_bool(0.5);
    let server = if running {
        // The copy is of one moment, and the epoch goes on in the original.
        server.freeze()?;
        copy_all(&original.data(), &copy.data())?;
        server.signal(rustix::process::Signal::CONT)?;
        server
    } else {
        server.stop()?;
        copy_all(&original.data(), &copy.data())?;
        original.serve()?
    };
    let mut copy_ledger = ledger.clone();
    insert_some(case, &server, &mut ledger, 30)?;
    // A record that everybody sees, so that the cursor has a position that the copy lacks.
    insert_public(case, &server, &mut ledger)?;
    ledger.check(server.client(), &mut case.random)?;
    let mut subscriber = ledger.subscribers[0].clone();
    server.stop()?;
    if rolls_back {
        fs::remove_dir_all(original.data())?;
        fs::rename(copy.data(), original.data())?;
    }
    let server = if rolls_back { original.serve()? } else { copy.serve()? };
    // Sometimes as many inserts as in the original, so that seqs alone do not reveal the copy.
    let requests = if case.random.random_bool(0.5) { 40 } else { 1 };
    insert_some(case, &server, &mut copy_ledger, requests)?;
    copy_ledger.check(server.client(), &mut case.random)?;
    let log = copy_ledger.read_log(server.client())?;
    subscriber.expect_reset(server.client(), &log)?;
    // A cursor of the copy must be reset by the original, too.
    let mut back: Subscriber = copy_ledger.subscribers[0].clone();
    server.stop()?;
    if !rolls_back {
        let server = original.serve()?;
        ledger.check(server.client(), &mut case.random)?;
        let log = ledger.read_log(server.client())?;
        back.expect_reset(server.client(), &log)?;
        server.stop()?;
    }
    Ok(())
}

fn insert_public(case: &mut Case<'_>, server: &Server, ledger: &mut Ledger) -> Result {
    let mut request = Request::plain(&mut case.random, "e.0");
    request.record_answer(&server.client().insert(&request.body())?)?;
    ensure!(matches!(request.outcome, Outcome::Acknowledged(_)), "{request:?}");
    ledger.requests.push(request);
    Ok(())
}

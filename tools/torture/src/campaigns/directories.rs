//! Clocks and directories that are not what they were: jumps of the clock, a second process,
//! directories of others, copies, and copies that take the place of the original.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rand::Rng as _;

use crate::campaign::{Campaign, Ground, Life};
use crate::files::{copy_all, snapshot};
use crate::ledger::{Ledger, Outcome, Request};
use crate::load;
use crate::server::{Place, START_MAX, Server};
use crate::shim::Shim;
use crate::viewer::Viewer;
use crate::{Result, ensure};

/// The campaign.
pub const CAMPAIGN: Campaign = Campaign {
    name: "directories",
    unit: "surprises",
    ci: 20,
    hour: 200,
    share: 4,
    mounts: false,
    ground: Ground::Both,
    live,
};

const DAY_MS: i64 = 86_400_000;
const JUMPS: usize = 8;

type Surprise = fn(&mut Life<'_>) -> Result;

fn live(life: &mut Life<'_>) -> Result {
    let surprises: [(&str, Surprise); 5] = [
        ("clock that jumps", clock_jumps),
        ("second process", second_process),
        ("directory of somebody else", foreign),
        ("copied directory", |life| copied(life, false)),
        ("directory rolled back", |life| copied(life, true)),
    ];
    let (what, surprise) = surprises[life.index as usize % surprises.len()];
    surprise(life).map_err(|error| format!("{what}: {error}"))?;
    life.survived(what);
    Ok(())
}

fn some(life: &mut Life<'_>, server: &Server, ledger: &mut Ledger, requests: usize) -> Result {
    load::run(ledger, server.client(), &mut life.random, |progress| {
        progress.until(requests, Duration::from_secs(20));
        Ok(())
    })
}

/// Times never fall in the log (which `log` checks), under load and from start to start.
fn clock_jumps(life: &mut Life<'_>) -> Result {
    let dir = life.dir.clone();
    let shim = Shim::new(life.tools, &dir)?;
    let place = Place::new(&dir).with(&shim);
    let mut ledger = Ledger::default();
    let mut server = place.serve()?;
    for _ in 0..JUMPS {
        let ms = match life.random.random_range(0..4) {
            0 => life.random.random_range(-5_000..5_000),
            1 => life.random.random_range(-400 * DAY_MS..400 * DAY_MS),
            2 => life.random.random_range(-50 * 365 * DAY_MS..200 * 365 * DAY_MS),
            // Before 1970: a machine whose clock was never set may be there for a moment.
            _ => -57 * 365 * DAY_MS - life.random.random_range(0..DAY_MS),
        };
        load::run(&mut ledger, server.client(), &mut life.random, |progress| {
            progress.until(15, Duration::from_secs(20));
            shim.set_clock(ms)?;
            progress.until(30, Duration::from_secs(20));
            Ok(())
        })
        .map_err(|error| format!("by {ms} ms: {error}"))?;
        if life.random.random_bool(0.5) {
            if life.random.random_bool(0.5) {
                server.stop()?
            } else {
                server.kill()?
            }
            server = place.spawn()?;
            if let Some(ended) = server.serving(START_MAX)? {
                ended.explained()?;
                ensure!(ms < -56 * 365 * DAY_MS, "by {ms} ms it does not start: {ended:?}");
                life.note("starts before 1970 that were refused");
                shim.set_clock(0)?;
                server = place.serve()?;
            }
            ledger.check(server.client(), &mut life.random)?;
        }
    }
    server.stop()?;
    shim.set_clock(0)?;
    let server = place.serve()?;
    ledger.check(server.client(), &mut life.random)?;
    server.stop()
}

/// Whoever comes second is refused and told who is there; the first does not notice.
fn second_process(life: &mut Life<'_>) -> Result {
    let dir = life.dir.clone();
    let (one, other) = (dir.join("one"), dir.join("other"));
    fs::create_dir(&one)?;
    fs::create_dir(&other)?;
    let data = dir.join("data");
    let first = Place { data: Some(&data), ..Place::new(&one) };
    let second = Place { data: Some(&data), ..Place::new(&other) };
    let mut ledger = Ledger::default();
    let server = first.serve()?;
    let pid = server.pid().to_string();
    load::run(&mut ledger, server.client(), &mut life.random, |progress| {
        for n in 1..=5 {
            progress.until(n * 10, Duration::from_secs(20));
            let mut late = second.spawn()?;
            let ended = late.serving(START_MAX)?.ok_or("a second process serves")?;
            let sentence = ended.explained()?;
            ensure!(sentence.contains("in use") && sentence.contains(&pid), "{sentence}");
        }
        Ok(())
    })?;
    ledger.check(server.client(), &mut life.random)?;
    server.kill()?;
    // Both at once, on what the kill left and on nothing at all: one serves, one is refused.
    for fresh in [false, true] {
        if fresh {
            fs::remove_dir_all(&data)?;
            ledger = Ledger::default();
        }
        let mut both = [first.spawn()?, second.spawn()?];
        let mut ends = Vec::new();
        for server in &mut both {
            ends.push(server.serving(START_MAX)?);
        }
        let [a, b] = both;
        let (serving, ended) = match (ends.remove(0), ends.remove(0)) {
            (None, Some(ended)) => (a, ended),
            (Some(ended), None) => (b, ended),
            ends => return Err(format!("of two at once: {ends:?}").into()),
        };
        ended.explained()?;
        some(life, &serving, &mut ledger, 20)?;
        ledger.check(serving.client(), &mut life.random)?;
        serving.stop()?;
    }
    Ok(())
}

/// What is not ours is refused and not touched.
fn foreign(life: &mut Life<'_>) -> Result {
    let dir = life.dir.clone();
    let data = dir.join("data");
    let place = Place::new(&dir);
    for name in
        ["notes.txt", "journal/00000000000000000001.seg", "projection/db", "identity", "mark"]
    {
        fs::create_dir_all(data.join(name).parent().unwrap_or(&data))?;
        let bytes: Vec<u8> =
            (0..life.random.random_range(1..5_000)).map(|_| life.random.random()).collect();
        fs::write(data.join(name), bytes)?;
        refused_untouched(&place, &data, name)?;
        fs::remove_dir_all(&data)?;
    }
    // A directory of ours without its identity is not taken for an empty one.
    let mut ledger = Ledger::default();
    let server = place.serve()?;
    some(life, &server, &mut ledger, 20)?;
    server.stop()?;
    let identity = fs::read(data.join("identity"))?;
    fs::remove_file(data.join("identity"))?;
    refused_untouched(&place, &data, "a directory without identity")?;
    // Nor for that of another log.
    let other = dir.join("other");
    fs::create_dir(&other)?;
    Place::new(&other).serve()?.stop()?;
    fs::copy(other.join("data/identity"), data.join("identity"))?;
    // sled was opened before the journal was judged, so only the rest is as it was.
    let journal = snapshot(&data.join("journal"))?;
    let ended =
        place.spawn()?.serving(START_MAX)?.ok_or("it serves the log of another identity")?;
    ensure!(ended.explained()?.contains("another log"), "{ended:?}");
    ensure!(snapshot(&data.join("journal"))? == journal, "the log of another identity was touched");
    fs::write(data.join("identity"), identity)?;
    let server = place.serve()?;
    ledger.check(server.client(), &mut life.random)?;
    server.stop()
}

fn refused_untouched(place: &Place<'_>, data: &Path, what: &str) -> Result {
    let before = snapshot(data)?;
    let mut server = place.spawn()?;
    let ended = server.serving(START_MAX)?.ok_or_else(|| format!("{what}: it serves"))?;
    ended.explained()?;
    let mut after = snapshot(data)?;
    // The lock holds the id of whoever looked last.
    let lock = data.join("lock");
    if let Some(pid) = before.get(&lock) {
        after.insert(lock, pid.clone());
    }
    ensure!(after == before, "{what}: it was touched");
    Ok(())
}

/// A directory is copied, of a stopped server or of one that stands still; original and copy go
/// different ways. A cursor of the one is not good for the other, unless it is from before; a copy
/// may also take the place of the original, which is then rolled back.
fn copied(life: &mut Life<'_>, rolls_back: bool) -> Result {
    let dir = life.dir.clone();
    let (home, away) = (dir.join("home"), dir.join("away"));
    fs::create_dir(&home)?;
    fs::create_dir(&away)?;
    let original = Place::new(&home).checkpoint_any(&mut life.random);
    let copy = Place { dir: &away, ..original };
    let mut ledger = Ledger::default();
    let server = original.serve()?;
    some(life, &server, &mut ledger, 30)?;
    ledger.check(server.client(), &mut life.random)?;
    let running = life.random.random_bool(0.5);
    let server = if running {
        // Of one moment, and the epoch goes on in the original.
        server.freeze()?;
        copy_all(&original.data(), &copy.data())?;
        server.signal(rustix::process::Signal::CONT)?;
        server
    } else {
        server.stop()?;
        copy_all(&original.data(), &copy.data())?;
        original.serve()?
    };
    let mut then = ledger.clone();
    some(life, &server, &mut ledger, 30)?;
    // Something that everybody sees, so that the cursor is of a place that the copy does not have.
    one_more(life, &server, &mut ledger)?;
    ledger.check(server.client(), &mut life.random)?;
    let mut visitor = ledger.viewers[0].clone();
    server.stop()?;
    if rolls_back {
        fs::remove_dir_all(original.data())?;
        fs::rename(copy.data(), original.data())?;
    }
    let server = if rolls_back { original.serve()? } else { copy.serve()? };
    // As many inserts as the original had, so that seqs alone tell nothing.
    let requests = if life.random.random_bool(0.5) { 40 } else { 1 };
    some(life, &server, &mut then, requests)?;
    then.check(server.client(), &mut life.random)?;
    let log = then.read_log(server.client())?;
    visitor.must_be_reset(server.client(), &log)?;
    // And the other way.
    let mut back: Viewer = then.viewers[0].clone();
    server.stop()?;
    if !rolls_back {
        let server = original.serve()?;
        ledger.check(server.client(), &mut life.random)?;
        let log = ledger.read_log(server.client())?;
        back.must_be_reset(server.client(), &log)?;
        server.stop()?;
    }
    Ok(())
}

fn one_more(life: &mut Life<'_>, server: &Server, ledger: &mut Ledger) -> Result {
    let mut request = Request::plain(&mut life.random, "e.0");
    request.answered(&server.client().insert(&request.body())?)?;
    ensure!(matches!(request.outcome, Outcome::Acknowledged(_)), "{request:?}");
    ledger.requests.push(request);
    Ok(())
}

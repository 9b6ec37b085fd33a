//! A campaign that cannot fail proves nothing: each of these breaks a promise on purpose, and the
//! same checks that the campaigns use have to find it.

use std::time::Duration;

use crate::campaign::{Campaign, Ground, Life};
use crate::campaigns::{damage, power};
use crate::ledger::{Insert, Ledger, Outcome};
use crate::load;
use crate::server::{Place, Server};
use crate::shim::{Fault, Kind, Shim};
use crate::{Result, ensure};

/// The campaign.
pub const CAMPAIGN: Campaign = Campaign {
    name: "control",
    unit: "lies found",
    ci: CONTROLS.len(),
    hour: 3 * CONTROLS.len(),
    share: 1,
    mounts: true,
    ground: Ground::Disk,
    live,
};

type Control = fn(&mut Life<'_>) -> Result;

const CONTROLS: [(&str, Control); 7] = [
    ("power cut under syncs that lie", power::lies_are_found),
    ("kill under writes that lie", |life| lying_writes(life, true)),
    ("one write that lies", |life| lying_writes(life, false)),
    ("book with a receipt that was never given", |life| {
        forged(life, |insert, receipt| {
            insert.tag = "never sent".to_owned();
            Some(receipt.to_owned())
        })
    }),
    ("book with another byte", |life| {
        forged(life, |insert, receipt| {
            insert.data = insert.data.replacen('"', "\"_", 1);
            Some(receipt.to_owned())
        })
    }),
    ("book with another version", |life| {
        forged(life, |_, receipt| Some(receipt.replacen("\"version\":", "\"version\":1", 1)))
    }),
    ("book that knows of no acknowledgement", |life| forged(life, |_, _| None)),
];

fn live(life: &mut Life<'_>) -> Result {
    let (what, control) = CONTROLS[life.index as usize % CONTROLS.len()];
    control(life).map_err(|error| format!("{what}: {error}"))?;
    life.survived(what);
    judge_is_just(life)
}

fn loaded(life: &mut Life<'_>, place: &Place<'_>, ledger: &mut Ledger) -> Result<Server> {
    let server = place.serve()?;
    load::run(ledger, server.client(), &mut life.random, |progress| {
        progress.until(30, Duration::from_secs(20));
        Ok(())
    })?;
    Ok(server)
}

/// Writes to the journal that are told to be done and are not: all of them, or one in the middle.
fn lying_writes(life: &mut Life<'_>, sticky: bool) -> Result {
    let dir = life.dir.clone();
    let shim = Shim::new(life.tools, &dir)?;
    let place = Place::new(&dir).with(&shim);
    let mut ledger = Ledger::default();
    loaded(life, &place, &mut ledger)?.stop()?;
    shim.arm(Fault { call: 0, scope: 0, nth: 12, kind: Kind::Skip, sticky })?;
    loaded(life, &place, &mut ledger)?.kill()?;
    shim.calm()?;
    let found = place.serve().and_then(|server| ledger.check(server.client(), &mut life.random));
    ensure!(found.is_err(), "nothing was found");
    Ok(())
}

/// A sound server against a book in which one acknowledged insert is changed.
fn forged(life: &mut Life<'_>, forge: fn(&mut Insert, &str) -> Option<String>) -> Result {
    let dir = life.dir.clone();
    let place = Place::new(&dir);
    let mut ledger = Ledger::default();
    let server = loaded(life, &place, &mut ledger)?;
    ledger.check(server.client(), &mut life.random)?;
    let is_plain = |request: &&mut crate::ledger::Request| {
        let insert = &request.inserts[0];
        request.inserts.len() == 1
            && insert.to.is_none()
            && insert.data.starts_with("{\"t\"")
            && matches!(request.outcome, Outcome::Acknowledged(_))
    };
    let request = ledger.requests.iter_mut().find(is_plain).ok_or("there is a plain insert")?;
    let Outcome::Acknowledged(receipts) = &request.outcome else { return Err("it is one".into()) };
    request.outcome = match forge(&mut request.inserts[0], &receipts[0]) {
        Some(receipt) => Outcome::Acknowledged(vec![receipt]),
        None => Outcome::Refused("forged".to_owned()),
    };
    let found = ledger.check(server.client(), &mut life.random);
    ensure!(found.is_err(), "nothing was found");
    server.stop()
}

/// A sound directory that is said to be damaged, and pages that are said to be strangers.
fn judge_is_just(life: &mut Life<'_>) -> Result {
    let dir = life.dir.join("sound");
    std::fs::create_dir(&dir)?;
    let place = Place::new(&dir);
    let mut ledger = Ledger::default();
    let server = loaded(life, &place, &mut ledger)?;
    ledger.check(server.client(), &mut life.random)?;
    let log = ledger.read_log(server.client())?;
    let taken = ledger.viewers[0].clone().must_be_reset(server.client(), &log);
    ensure!(taken.is_err(), "a good cursor was said to be reset");
    server.stop()?;
    let somewhere = damage::Expected::RefusedSomewhere;
    for expected in [somewhere, damage::Expected::WholeWithWarning(damage::MARK)] {
        let judged = damage::judge(&dir, &expected, &mut ledger, &mut life.random);
        ensure!(judged.is_err(), "a sound directory was said to be {expected:?}");
    }
    Ok(())
}

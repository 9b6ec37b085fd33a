//! Controls: each breaks a promise on purpose, and the checks that the campaigns use have to detect
//! it. A campaign that cannot fail shows nothing.

use broker_tools::{Result, ensure};

use crate::campaign::{Campaign, Case, Storage};
use crate::campaigns::{damage, power};
use crate::ledger::{Insert, Ledger, Outcome};
use crate::load;
use crate::server::{Server, ServerConfig};
use crate::server_texts;
use crate::shim::{Fault, FaultKind, Shim};

/// The campaign.
pub const CAMPAIGN: Campaign = Campaign {
    name: "control",
    unit: "violations detected",
    ci: CONTROLS.len(),
    hour: 3 * CONTROLS.len(),
    share: 1,
    mounts: true,
    storage: Storage::Disk,
    run,
};

type Control = fn(&mut Case<'_>) -> Result;

const CONTROLS: [(&str, Control); 7] = [
    ("power cut under syncs that lie", power::lying_syncs_are_found),
    ("kill under writes that lie", |case| lying_writes(case, true)),
    ("one write that lies", |case| lying_writes(case, false)),
    ("ledger with a receipt that was never given", |case| {
        forged(case, |insert, receipt| {
            "never sent".clone_into(&mut insert.tag);
            Some(receipt.to_owned())
        })
    }),
    ("ledger with another byte", |case| {
        forged(case, |insert, receipt| {
            insert.data = insert.data.replacen('"', "\"_", 1);
            Some(receipt.to_owned())
        })
    }),
    ("ledger with another version", |case| {
        forged(case, |_, receipt| Some(receipt.replacen("\"version\":", "\"version\":1", 1)))
    }),
    ("ledger without an acknowledgement", |case| forged(case, |_, _| None)),
];

fn run(case: &mut Case<'_>) -> Result {
    let (what, control) = CONTROLS[case.index as usize % CONTROLS.len()];
    control(case).map_err(|error| format!("{what}: {error}"))?;
    case.survived(what);
    sound_directory_is_rejected(case)
}

fn loaded(case: &mut Case<'_>, config: &ServerConfig<'_>, ledger: &mut Ledger) -> Result<Server> {
    let server = config.serve()?;
    load::until_acknowledged(ledger, server.client(), &mut case.random, 30)?;
    Ok(server)
}

/// Writes to the journal that report success without writing: all of them, or one in the middle.
fn lying_writes(case: &mut Case<'_>, sticky: bool) -> Result {
    let dir = case.dir.clone();
    let shim = Shim::new(case.tools, &dir)?;
    let config = ServerConfig::new(&dir).with(&shim);
    let mut ledger = Ledger::default();
    loaded(case, &config, &mut ledger)?.stop()?;
    shim.arm(Fault::in_journal("pwrite", 12, FaultKind::Skip, sticky))?;
    loaded(case, &config, &mut ledger)?.kill()?;
    shim.disarm()?;
    let found = config.serve().and_then(|server| ledger.check(server.client(), &mut case.random));
    ensure!(found.is_err(), "the checks found nothing");
    Ok(())
}

/// A correct server, compared with a ledger in which one acknowledged insert is changed.
fn forged(case: &mut Case<'_>, forge: fn(&mut Insert, &str) -> Option<String>) -> Result {
    let dir = case.dir.clone();
    let config = ServerConfig::new(&dir);
    let mut ledger = Ledger::default();
    let server = loaded(case, &config, &mut ledger)?;
    ledger.check(server.client(), &mut case.random)?;
    let is_plain = |request: &&mut crate::ledger::Request| {
        let insert = &request.inserts[0];
        request.inserts.len() == 1
            && insert.to.is_none()
            && insert.data.starts_with("{\"t\"")
            && matches!(request.outcome, Outcome::Acknowledged(_))
    };
    let request = ledger.requests.iter_mut().find(is_plain).ok_or("no plain insert")?;
    let Outcome::Acknowledged(receipts) = &request.outcome else {
        return Err("the insert is not acknowledged".into());
    };
    request.outcome = match forge(&mut request.inserts[0], &receipts[0]) {
        Some(receipt) => Outcome::Acknowledged(vec![receipt]),
        None => Outcome::Refused("forged".to_owned()),
    };
    let found = ledger.check(server.client(), &mut case.random);
    ensure!(found.is_err(), "the checks found nothing");
    server.stop()
}

/// An undamaged directory that is claimed to be damaged, and a valid cursor that is claimed to be
/// of another history.
fn sound_directory_is_rejected(case: &mut Case<'_>) -> Result {
    let dir = case.dir.join("sound");
    std::fs::create_dir(&dir)?;
    let config = ServerConfig::new(&dir);
    let mut ledger = Ledger::default();
    let server = loaded(case, &config, &mut ledger)?;
    ledger.check(server.client(), &mut case.random)?;
    let log = ledger.read_log(server.client())?;
    let taken = ledger.subscribers[0].clone().expect_reset(server.client(), &log);
    ensure!(taken.is_err(), "a valid cursor passed as one of another history");
    server.stop()?;
    let somewhere = damage::Expected::RefusedSomewhere;
    for expected in [somewhere, damage::Expected::WholeWithWarning(server_texts::WATERMARK)] {
        let judged = damage::judge(&dir, &expected, &mut ledger, &mut case.random);
        ensure!(judged.is_err(), "an undamaged directory passed as {expected:?}");
    }
    Ok(())
}

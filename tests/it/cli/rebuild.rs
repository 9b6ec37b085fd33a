//! `broker rebuild`.

use std::fs;

use crate::cli::Workdir;
use crate::harness::files::{flip, tree};

#[test]
fn rebuilt_history_matches_the_log_and_the_old_one_is_kept() {
    let place = Workdir::filled();
    let old = tree(&place.path("data/projection"));
    let journal = tree(&place.path("data/journal"));
    let said = place.run(&["rebuild", "--data-dir", "data"]).ok();
    assert!(said.contains("built from 198 records of the log, and agrees with it"), "{said}");
    let aside = place.path("data/projection.quarantined-1");
    assert!(said.contains(&format!("kept in {}, and may be deleted", aside.display())), "{said}");
    assert_eq!(tree(&aside), old);
    assert_eq!(tree(&place.path("data/journal")), journal);
    let said = place.run(&["verify", "--data-dir", "data"]).ok();
    assert!(said.contains("history: 198 records compared, no difference"), "{said}");

    let program = place.serve("data");
    program.client.wait_for_history();
    assert_eq!(program.client.lines("/audit/n").len(), 28);
    let log = program.log();
    assert!(!log.contains("quarantin") && !log.contains("rebuil"), "it is taken over: {log}");
    program.stop();
}

#[test]
fn missing_history_is_built_but_never_from_a_damaged_log() {
    let place = Workdir::filled();
    fs::remove_dir_all(place.path("data/projection")).expect("a projection");
    let said = place.run(&["rebuild", "--data-dir", "data"]).ok();
    assert!(!said.contains("kept in"), "{said}");
    let segment = place.segments("data").swap_remove(0);
    flip(&segment, 500, 1);
    let before = tree(&place.path("data/projection"));
    let said = place.run(&["rebuild", "--data-dir", "data"]).refused(1);
    assert!(said.contains("the first bad record is seq "), "{said}");
    assert_eq!(tree(&place.path("data/projection")), before);
}

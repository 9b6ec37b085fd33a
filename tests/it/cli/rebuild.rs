//! `broker rebuild`.

use std::fs;

use super::Workdir;

#[test]
fn rebuilt_history_matches_the_log_and_the_old_one_is_kept() {
    let place = Workdir::filled();
    let old = crate::process::files(&place.path("data/projection"));
    let journal = crate::process::files(&place.path("data/journal"));
    let said = place.run(&["rebuild", "--data-dir", "data"]).ok();
    assert!(said.contains("built from 198 records of the log, and agrees with it"), "{said}");
    let aside = place.path("data/projection.quarantined-1");
    assert!(said.contains(&format!("kept in {}, and may be deleted", aside.display())), "{said}");
    assert_eq!(crate::process::files(&aside), old);
    assert_eq!(crate::process::files(&place.path("data/journal")), journal);
    let said = place.run(&["verify", "--data-dir", "data"]).ok();
    assert!(said.contains("history: 198 records compared, no difference"), "{said}");

    let program = place.serve("data");
    super::settled(program.client);
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
    let mut bytes = fs::read(&segment).expect("a segment");
    bytes[500] ^= 1;
    fs::write(&segment, bytes).expect("a segment");
    let before = crate::process::files(&place.path("data/projection"));
    let said = place.run(&["rebuild", "--data-dir", "data"]).refused(1);
    assert!(said.contains("the first bad record is seq "), "{said}");
    assert_eq!(crate::process::files(&place.path("data/projection")), before);
}

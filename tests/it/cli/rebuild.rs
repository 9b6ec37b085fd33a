//! `broker rebuild`.

use std::fs;

use crate::cli::Workdir;
use crate::harness::files::{flip, tree};

#[test]
fn rebuilt_history_matches_the_log_and_the_old_one_is_kept() {
    let workdir = Workdir::filled();
    let old = tree(&workdir.path("data/projection"));
    let journal = tree(&workdir.path("data/journal"));
    let output = workdir.run(&["rebuild", "--data-dir", "data"]).ok();
    assert!(output.contains("built from 198 records of the log, and agrees with it"), "{output}");
    let quarantined = workdir.path("data/projection.quarantined-1");
    assert!(
        output.contains(&format!("kept in {}, and may be deleted", quarantined.display())),
        "{output}"
    );
    assert_eq!(tree(&quarantined), old);
    assert_eq!(tree(&workdir.path("data/journal")), journal);
    let output = workdir.run(&["verify", "--data-dir", "data"]).ok();
    assert!(output.contains("history: 198 records compared, no difference"), "{output}");

    let program = workdir.serve("data");
    program.client.wait_for_history();
    assert_eq!(program.client.lines("/audit/n").len(), 28);
    let log = program.log();
    assert!(!log.contains("quarantin") && !log.contains("rebuil"), "it is taken over: {log}");
    program.stop();
}

#[test]
fn missing_history_is_built_but_never_from_a_damaged_log() {
    let workdir = Workdir::filled();
    fs::remove_dir_all(workdir.path("data/projection")).expect("a projection");
    let output = workdir.run(&["rebuild", "--data-dir", "data"]).ok();
    assert!(!output.contains("kept in"), "{output}");
    let segment = workdir.segments("data").swap_remove(0);
    flip(&segment, 500, 1);
    let before = tree(&workdir.path("data/projection"));
    let output = workdir.run(&["rebuild", "--data-dir", "data"]).refused(1);
    assert!(output.contains("the first bad record is seq "), "{output}");
    assert_eq!(tree(&workdir.path("data/projection")), before);
}

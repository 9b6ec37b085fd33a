//! `broker inspect`.

use std::fs;

use serde_json::Value;

use crate::cli::Workdir;
use crate::harness::files::{flip, tree};

fn inspect(workdir: &Workdir) -> Value {
    let output = workdir.run(&["inspect", "--json", "--data-dir", "data"]).ok();
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[test]
fn inspect_describes_a_directory_without_changing_it() {
    let workdir = Workdir::filled();
    let before = tree(&workdir.path("data"));
    let report = inspect(&workdir);
    assert_eq!(tree(&workdir.path("data")), before);
    for (name, value) in [("records", 198), ("last_seq", 198), ("events", 9), ("mark", 198)] {
        assert_eq!(report[name], value, "{name}: {report}");
    }
    assert_eq!(report["in_use"], false);
    let epochs = report["epochs"].as_array().expect("an array");
    assert_eq!((&epochs[0]["seq"], &epochs[1]["seq"], epochs.len()), (&1.into(), &100.into(), 2));
    assert_eq!(report["projection"]["state"], "applied");
    assert_eq!(report["projection"]["seq"], 198);
    let pieces = report["pieces"].as_array().expect("an array");
    let segments = pieces.iter().filter(|piece| piece["part"] == "segment");
    assert_eq!(segments.count(), workdir.segments("data").len());
    let bytes: u64 =
        workdir.segments("data").iter().map(|s| fs::metadata(s).expect("a segment").len()).sum();
    assert_eq!(report["bytes"]["segment"], bytes);
    let exported = workdir.exported("data");
    assert!(exported.contains(report["chain"].as_str().expect("text")));
    let text = workdir.run(&["inspect", "--data-dir", "data"]).ok();
    for words in ["records      198 in ", "last seq     198", "projection   applied to seq 198"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn inspect_describes_a_directory_in_use() {
    let workdir = Workdir::new();
    let program = workdir.serve("data");
    program.client.put("a", "1");
    let report = inspect(&workdir);
    assert_eq!((&report["in_use"], &report["pid"]), (&true.into(), &program.pid().into()));
    assert_eq!((&report["records"], &report["events"]), (&2.into(), &1.into()));
    assert_eq!(report["projection"]["state"], "unknown");
    let text = workdir.run(&["inspect", "--data-dir", "data"]).ok();
    assert!(
        text.contains(&format!("in use       by the process with id {}", program.pid())),
        "{text}"
    );
    program.client.put("a", "2");
    program.stop();
    assert_eq!(inspect(&workdir)["records"], 3);
}

#[test]
fn inspect_describes_the_readable_part_of_a_damaged_directory() {
    let workdir = Workdir::filled();
    let segment = workdir.segments("data").pop().expect("a segment");
    flip(&segment, 110, 1);
    fs::create_dir(workdir.path("data/projection.quarantined-1")).expect("a directory");
    workdir.write("data/projection.quarantined-1/x", [0; 100]);
    let report = inspect(&workdir);
    let damage = report["damage"].as_str().expect("text");
    assert!(damage.contains("the first bad record is seq "), "{damage}");
    let records = report["records"].as_u64().expect("a number");
    assert!((1..198).contains(&records), "{report}");
    assert!(damage.contains(&format!("seq {}", records + 1)), "{damage}");
    assert_eq!(report["bytes"]["quarantined"], 100);
}

#[test]
fn inspect_tells_snapshots_from_foreign_files() {
    let workdir = Workdir::filled();
    workdir.write("data/journal/snapshot", [0; 70]);
    workdir.write("data/journal/snapshot.tmp", [0; 7]);
    workdir.write("data/journal/notes.txt", "somebody's");
    let report = inspect(&workdir);
    let part = |name: &str| {
        let pieces = report["pieces"].as_array().expect("an array");
        let piece = pieces.iter().find(|piece| piece["name"] == format!("journal/{name}"));
        piece.expect("it is listed")["part"].clone()
    };
    for (name, expected) in
        [("snapshot", "snapshot"), ("snapshot.tmp", "snapshot"), ("notes.txt", "other")]
    {
        assert_eq!(part(name), expected, "{name}");
    }
    assert_eq!(report["bytes"]["snapshot"], 77);
}

//! `broker verify` reports the first bad record and changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use rand::Rng as _;
use serde_json::Value;

use crate::cli::{CommandOutput, Workdir, fill};
use crate::harness::files::{change, copy_all, flip, tree, written_len};
use crate::harness::program::{Program, small};
use crate::harness::random::seeded_random;
use crate::harness::wait::wait_until;

/// Damages a copy of `data` and verifies it. Checks that verify changes no file.
fn verify_damaged(workdir: &Workdir, damage: impl FnOnce(&Path)) -> CommandOutput {
    let copy = workdir.path("damaged");
    let _ = fs::remove_dir_all(&copy);
    copy_all(&workdir.path("data"), &copy);
    damage(&copy);
    let before = tree(&copy);
    let output = workdir.run(&["verify", "--data-dir", "damaged"]);
    assert!(tree(&copy) == before, "verify changes nothing: {output:?}");
    output
}

/// Segment and offset of a text that occurs in the log once.
fn find(segments: &[PathBuf], text: &str) -> (PathBuf, usize) {
    for segment in segments {
        let bytes = fs::read(segment).expect("a segment");
        let found = bytes.windows(text.len()).position(|window| window == text.as_bytes());
        if let Some(at) = found {
            return (segment.clone(), at);
        }
    }
    panic!("{text} is not in the log");
}

#[test]
fn intact_directory_verifies_and_is_not_changed() {
    let workdir = Workdir::filled();
    let output = verify_damaged(&workdir, |_| {}).ok();
    assert!(output.contains("snapshot: there is none"), "{output}");
    assert!(output.contains("198 records in ") && output.contains("9 events"), "{output}");
    assert!(output.contains("history: 198 records compared, no difference"), "{output}");
    assert!(output.ends_with("no damage was found\n"), "{output}");
    let output = verify_damaged(&workdir, |data| {
        fs::remove_dir_all(data.join("projection")).expect("a projection");
        fs::remove_file(data.join("lock")).expect("a lock");
    });
    assert!(output.ok().contains("history: there is none yet"));
}

#[test]
fn directory_in_use_is_neither_verified_nor_rebuilt() {
    let workdir = Workdir::new();
    let program = workdir.serve("data");
    let output = workdir.run(&["verify", "--data-dir", "data"]).refused(2);
    assert!(output.contains("in use") && output.contains("broker backup"), "{output}");
    let output = workdir.run(&["rebuild", "--data-dir", "data"]).refused(1);
    assert!(output.contains("in use") && output.contains(&program.pid().to_string()), "{output}");
    program.stop();
}

/// The value to damage is found by its text, so its record, version, file and offset are known.
#[test]
fn damaged_value_is_reported_with_event_version_and_file() {
    let workdir = Workdir::filled();
    let exported = workdir.exported("data");
    let mut random = seeded_random();
    for _ in 0..10 {
        let n = random.random_range(0..14);
        let text = format!("\"{n} xxx");
        let line = exported.lines().find(|line| line.contains(&text)).expect("a line");
        let record: Value = serde_json::from_str(line).expect("JSON");
        let (segment, at) = find(&workdir.segments("data"), &text);
        let segment = PathBuf::from("journal").join(segment.file_name().expect("a name"));
        let within = random.random_range(1..50_000);
        let output =
            verify_damaged(&workdir, |data| flip(&data.join(&segment), at + within, 2)).refused(1);
        let (seq, event, version) = (&record["seq"], &record["event"], &record["version"]);
        let name = format!("the first bad record is seq {seq} (event {event}, version {version})");
        assert!(output.contains(&name), "{name}: {output}");
        assert!(output.contains(&segment.display().to_string()), "{output}");
        assert!(output.contains("the checksum of the data"), "{output}");
    }
}

/// A checksum that matches the forged value does not hide the forgery: the leaf's commitment does
/// not match.
#[test]
fn value_forged_with_its_checksum_is_detected_by_the_commitment() {
    let workdir = Workdir::filled();
    let (segment, at) = find(&workdir.segments("data"), "[7,null]");
    let segment = PathBuf::from("journal").join(segment.file_name().expect("a name"));
    let exported = workdir.exported("data");
    let line = exported.lines().find(|line| line.contains("[7,null]")).expect("a line");
    let record: Value = serde_json::from_str(line).expect("JSON");
    let seq = record["seq"].as_u64().expect("a seq");
    let output = verify_damaged(&workdir, |data| {
        change(&data.join(&segment), |bytes| {
            bytes[at + 1] = b'8';
            let position: Vec<u8> = seq.to_le_bytes().into_iter().chain([1]).collect();
            let crc = crc32c::crc32c_append(crc32c::crc32c(&position), &bytes[at - 16..at + 8]);
            bytes[at - 20..at - 16].copy_from_slice(&crc.to_le_bytes());
        });
    });
    let output = output.refused(1);
    assert!(output.contains("the data does not match the leaf's commitment"), "{output}");
    assert!(output.contains(&format!("the first bad record is seq {seq} (event ")), "{output}");
}

#[test]
fn flipped_bits_in_the_log_are_detected() {
    let workdir = Workdir::filled();
    let mut random = seeded_random();
    let segments = workdir.segments("data");
    for n in 0..30 {
        let segment = &segments[n % segments.len()];
        let used = written_len(&fs::read(segment).expect("a segment"));
        // Every other flip hits headers, leaves and names rather than large values.
        let end = if n % 2 == 0 { used } else { used.min(700) };
        let (at, bit) = (random.random_range(0..end), 1 << random.random_range(0..8));
        let name = segment.file_name().expect("a name");
        let output =
            verify_damaged(&workdir, |data| flip(&data.join("journal").join(name), at, bit));
        let output = output.refused(1);
        let name = name.to_str().expect("UTF-8");
        assert!(
            output.contains(name) && output.contains("the first bad record is seq "),
            "{output}"
        );
    }
}

type Damage<'a> = Box<dyn FnOnce(&Path) + 'a>;

#[test]
fn missing_truncated_or_swapped_files_are_damage() {
    let workdir = Workdir::filled();
    let names: Vec<PathBuf> = workdir.segments("data").into_iter().collect();
    let name = |i: usize| names[i].file_name().expect("a name").to_owned();
    let cases: Vec<(&str, Damage<'_>)> = vec![
        (
            "the last missing",
            Box::new(|journal| {
                fs::remove_file(journal.join(name(names.len() - 1))).expect("a file");
            }),
        ),
        (
            "one missing",
            Box::new(|journal| fs::remove_file(journal.join(name(1))).expect("a file")),
        ),
        (
            "one short",
            Box::new(|journal| {
                let file = fs::OpenOptions::new().write(true).open(journal.join(name(1)));
                file.expect("a file").set_len(30_000).expect("it shrinks");
            }),
        ),
        (
            "two exchanged",
            Box::new(|journal| {
                fs::rename(journal.join(name(1)), journal.join("x")).expect("a file");
                fs::rename(journal.join(name(2)), journal.join(name(1))).expect("a file");
                fs::rename(journal.join("x"), journal.join(name(2))).expect("a file");
            }),
        ),
    ];
    for (what, damage) in cases {
        let output = verify_damaged(&workdir, |data| damage(&data.join("journal"))).refused(1);
        assert!(output.contains("the first bad record is seq "), "{what}: {output}");
    }
    let output = verify_damaged(&workdir, |data| flip(&data.join("identity"), 40, 1)).refused(1);
    assert!(output.contains("identity is damaged"), "{output}");
}

/// The traces of a crash are reported as notes, not as damage.
#[test]
fn torn_tail_and_damaged_watermark_are_notes_and_no_damage() {
    let workdir = Workdir::filled();
    let last = workdir.segments("data").pop().expect("a segment");
    let last = last.file_name().expect("a name");
    let output = verify_damaged(&workdir, |data| {
        change(&data.join("journal").join(last), |bytes| {
            let at = written_len(bytes).next_multiple_of(8);
            bytes[at..at + 5].copy_from_slice(b"begun");
        });
    });
    let output = output.ok();
    assert!(
        output.contains("note: a group in ") && output.contains(", 5 bytes long, was never"),
        "{output}"
    );
    let output = verify_damaged(&workdir, |data| {
        fs::remove_file(data.join("journal/mark")).expect("a mark");
    })
    .ok();
    assert!(output.contains("note: the watermark is missing"), "{output}");
    let output = verify_damaged(&workdir, |data| flip(&data.join("journal/mark"), 20, 1)).ok();
    assert!(output.contains("note: one of the two slots"), "{output}");
}

/// A flipped bit in sled's files is either unused or reported, and a rebuild repairs it.
#[test]
fn damaged_history_is_reported_and_repaired_by_rebuild() {
    let workdir = Workdir::filled();
    let db = workdir.path("data/projection/sled-1/db");
    let used = written_len(&fs::read(&db).expect("a store"));
    let mut random = seeded_random();
    // sled's file contains obsolete bytes, which are never read.
    let (mut tried, mut found) = (0, 0);
    while tried < 10 || found < 3 {
        tried += 1;
        assert!(tried < 200, "{found} of {tried} were found");
        let (at, bit) = (random.random_range(0..used), 1 << random.random_range(0..8));
        let damage = |data: &Path| flip(&data.join("projection/sled-1/db"), at, bit);
        let output = verify_damaged(&workdir, damage);
        if output.code == 0 {
            output.ok();
            continue;
        }
        found += 1;
        let output = output.refused(1);
        assert!(output.contains("the history in") && output.contains("broker rebuild"), "{output}");
        workdir.run(&["rebuild", "--data-dir", "damaged"]).ok();
        workdir.run(&["verify", "--data-dir", "damaged"]).ok();
    }
    let output = verify_damaged(&workdir, |data| {
        let other = Workdir::filled();
        fs::remove_dir_all(data.join("projection")).expect("a projection");
        copy_all(&other.path("data/projection"), &data.join("projection"));
    });
    assert!(output.refused(1).contains("derived from another log"));
    // A log that is older than its history.
    let output = verify_damaged(&workdir, |data| {
        workdir.run(&["backup", "old", "--data-dir", "data"]).ok();
        let program = workdir.serve("data");
        fill(program.client);
        program.client.wait_for_history();
        program.stop();
        fs::remove_dir_all(data.join("projection")).expect("a projection");
        copy_all(&workdir.path("data/projection"), &data.join("projection"));
    });
    assert!(output.refused(1).contains("are missing from the log"));
}

/// A start trusts an intact snapshot, so verify compares it with the log.
#[test]
fn snapshot_is_compared_with_the_log_and_a_damaged_one_is_noted() {
    let workdir = Workdir::new();
    let serve_with_snapshot = |data: &str| {
        let mut command = small(&workdir.path(""));
        command.env("BROKER_DATA_DIR", workdir.path(data)).env("BROKER_SNAPSHOT_BYTES", "64KiB");
        let program = Program::start(command);
        fill(program.client);
        let path = workdir.path(data).join("journal/snapshot");
        wait_until("a snapshot is written", || path.exists());
        fill(program.client);
        program.client.wait_for_history();
        program.stop();
    };
    serve_with_snapshot("data");
    serve_with_snapshot("other");
    let output = verify_damaged(&workdir, |_| {}).ok();
    assert!(output.contains("snapshot: ") && output.contains("as of seq "), "{output}");
    assert!(!output.contains("note: "), "{output}");
    let output = verify_damaged(&workdir, |data| flip(&data.join("journal/snapshot"), 300, 1)).ok();
    assert!(
        output.contains("note: the snapshot in ") && output.contains("is unusable"),
        "{output}"
    );
    let output = verify_damaged(&workdir, |data| {
        let other = workdir.path("other/journal/snapshot");
        fs::copy(other, data.join("journal/snapshot")).expect("a file");
    });
    let output = output.ok();
    assert!(output.contains("note: ") && output.contains("belongs to another log"), "{output}");
}

#[test]
fn single_record_is_reported_in_the_singular() {
    let workdir = Workdir::new();
    workdir.serve("data").stop();
    fs::remove_dir_all(workdir.path("data/projection")).expect("a projection");
    let output = workdir.run(&["rebuild", "--data-dir", "data"]).ok();
    assert!(output.contains("built from 1 record of the log, and agrees with it"), "{output}");
    let output = verify_damaged(&workdir, |_| {}).ok();
    assert!(output.contains("history: 1 record compared, no difference\n"), "{output}");
    let old = workdir.path("old");
    copy_all(&workdir.path("data/projection"), &old);
    workdir.serve("data").stop();
    let output = verify_damaged(&workdir, |data| {
        fs::remove_dir_all(data.join("projection")).expect("a projection");
        copy_all(&old, &data.join("projection"));
    });
    let output = output.ok();
    assert!(output.contains("no difference; the next start applies 1 record more\n"), "{output}");
}

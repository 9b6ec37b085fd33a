//! `broker import`: creates an identical log, or nothing and says why.

use std::fs::File;
use std::process::Stdio;

use broker::audit::{Salts, chain};
use broker::record::{Identity, Name, Record, RecordParts, Timestamp};
use rand::Rng as _;
use serde_json::Value;

use crate::audit::leaf_of_line;
use crate::cli::{CommandOutput, Workdir, fill};
use crate::harness::files::copy_all;
use crate::harness::program::run;
use crate::harness::random::seeded_random;

#[test]
fn imported_log_is_identical_and_can_be_served() {
    let workdir = Workdir::filled();
    workdir.run(&["export", "e", "--data-dir", "data"]).ok();
    let output = workdir.run(&["import", "e", "--data-dir", "copy"]).ok();
    assert!(output.contains("imported 198 records"), "{output}");
    let whole = String::from_utf8(workdir.read("e")).expect("UTF-8");
    assert!(workdir.exported("copy") == whole);
    assert_eq!(workdir.read("copy/identity"), workdir.read("data/identity"));
    assert!(!workdir.path("copy.partial").exists());
    workdir.run(&["verify", "--data-dir", "copy"]).ok();

    let program = workdir.serve("copy");
    program.client.put("n", "\"goes on\"");
    let latest = program.client.get("/latest?event=n").expect(200).json();
    assert_eq!(latest["records"][0]["version"], 29, "{latest}");
    program.stop();
    let body = whole.rsplit_once("{\"end\"").expect("an end").0;
    assert!(workdir.exported("copy").starts_with(body), "imported records do not change");
    let output = workdir.run(&["import", "e", "--data-dir", "copy"]).refused(1);
    assert!(output.contains("a server has used it since"), "{output}");
}

#[test]
fn standard_input_is_imported_only_into_a_new_directory() {
    let workdir = Workdir::filled();
    workdir.run(&["export", "e", "--data-dir", "data"]).ok();
    let import = || {
        let mut command = workdir.command(&["import", "-", "--data-dir", "copy"]);
        command.stdin(Stdio::from(File::open(workdir.path("e")).expect("a file")));
        let (status, stdout, stderr) = run(command);
        CommandOutput { code: status.code().expect("a code"), stdout, stderr }
    };
    import().ok();
    assert!(workdir.exported("copy").as_bytes() == workdir.read("e"));
    assert!(import().refused(1).contains("name a file"));
}

#[test]
fn import_appends_to_a_directory_that_holds_a_prefix() {
    let workdir = Workdir::filled();
    workdir.run(&["export", "e", "--data-dir", "data"]).ok();
    workdir.run(&["import", "e", "--data-dir", "copy"]).ok();
    workdir.run(&["import", "e", "--data-dir", "served"]).ok();
    let program = workdir.serve("data");
    fill(program.client);
    program.stop();

    // A partial export is appended to its predecessor and imported nowhere else.
    workdir.run(&["export", "new", "--after", "198", "--data-dir", "data"]).ok();
    let output = workdir.run(&["import", "new", "--data-dir", "fresh"]).refused(1);
    assert!(output.contains("import the missing ones first"), "{output}");
    assert!(!workdir.path("fresh").exists() && !workdir.path("fresh.partial").exists());
    copy_all(&workdir.path("copy"), &workdir.path("by-part"));
    let output = workdir.run(&["import", "new", "--data-dir", "by-part"]).ok();
    assert!(output.contains("99 of them new"), "{output}");
    assert!(workdir.exported("by-part") == workdir.exported("data"));
    workdir.run(&["verify", "--data-dir", "by-part"]).ok();

    // A full export is appended too; a truncated one changes nothing.
    workdir.run(&["export", "e", "--data-dir", "data"]).ok();
    let whole = workdir.read("e");
    workdir.write("cut", &whole[..whole.len() - 200]);
    let before = workdir.exported("copy");
    assert!(workdir.run(&["import", "cut", "--data-dir", "copy"]).refused(1).contains("is cut"));
    assert!(workdir.exported("copy") == before);
    let output = workdir.run(&["import", "e", "--data-dir", "copy"]).ok();
    assert!(output.contains("99 of them new"), "{output}");
    assert!(workdir.exported("copy").as_bytes() == whole);

    // A directory that was served since has other records.
    workdir.serve("served").stop();
    let output = workdir.run(&["import", "e", "--data-dir", "served"]).refused(1);
    assert!(output.contains("other records up to seq 199"), "{output}");
    let other = Workdir::filled();
    let output =
        workdir.run(&["import", "e", "--data-dir", other.path("data").to_str().expect("UTF-8")]);
    let output = output.refused(1);
    assert!(output.contains("and not the log"), "{output}");
}

#[test]
fn killed_import_resumes_and_is_invisible_until_complete() {
    let workdir = Workdir::filled();
    workdir.run(&["export", "e", "--data-dir", "data"]).ok();
    let mut random = seeded_random();
    let (mut n, mut interrupted) = (0, 0);
    while n < 8 || interrupted < 3 {
        n += 1;
        assert!(n < 100, "{interrupted} of {n} were interrupted");
        let data = format!("copy-{n}");
        let args = ["import", "e", "--data-dir", &data];
        workdir.kill_copying(&args, &data, random.random_range(0..12));
        interrupted += usize::from(!workdir.path(&data).exists());
        if !workdir.path(&data).exists() {
            workdir.run(&["inspect", "--data-dir", &data]).refused(1);
        }
        workdir.run(&args).ok();
        assert!(workdir.exported(&data).as_bytes() == workdir.read("e"));
        assert!(!workdir.path(&format!("{data}.partial")).exists());
    }
}

/// The lines of an export, for tampering.
struct ExportLines(Vec<String>);

impl ExportLines {
    fn record(&self, seq: u64) -> Value {
        serde_json::from_str(&self.0[seq as usize]).expect("JSON")
    }

    fn replace(&mut self, seq: u64, from: &str, to: &str) {
        let at = seq as usize;
        assert!(self.0[at].contains(from), "{from}: {}", self.0[at]);
        self.0[at] = self.0[at].replacen(from, to, 1);
    }

    /// Replaces a record by a forged one with a correct hash.
    fn forge(&mut self, seq: u64, version: u64, millis: u64, id: Option<&str>) {
        let at = seq as usize;
        let record = self.record(seq);
        let text = |name: &str| record[name].as_str().expect("text").to_owned();
        let time = Timestamp::parse(&text("timestamp")).expect("a time").millis();
        let forged = Record::new(RecordParts {
            seq,
            identity: Identity { event: Name::stored(&text("event")).expect("a name"), to: None },
            version,
            id: id.map_or_else(|| text("id"), str::to_owned).parse().expect("an id"),
            time: Timestamp::from_millis(time - millis),
            author: None,
            salts: Salts { meta: [1; 16], data: [2; 16] },
            data: b"\"forged\"",
        });
        self.0[at] = String::from_utf8(forged.audit_json()).expect("JSON is text");
    }
}

/// A name, the tampering, and words of the error.
type Tampering = (&'static str, fn(&mut ExportLines), &'static [&'static str]);

/// Asserts that import refuses each tampered export with its words and stores nothing.
///
/// Seq 1 is the open and each round of `fill` has seven records, so seq 5 is b.0 at version 1 and
/// seq 10 is n at version 2.
#[track_caller]
fn assert_refused(cases: &[Tampering]) {
    let workdir = Workdir::filled();
    let exported = workdir.exported("data");
    let whole: Vec<String> = exported.lines().map(str::to_owned).collect();
    assert_eq!(whole.len(), 200);
    for (what, tamper, words) in cases {
        let mut lines = ExportLines(whole.clone());
        tamper(&mut lines);
        let text: String = lines.0.iter().flat_map(|line| [line, "\n"]).collect();
        assert_ne!(text, exported, "{what}");
        workdir.write("e", &text);
        let sentence = workdir.run(&["import", "e", "--data-dir", "copy"]).refused(1);
        for word in *words {
            assert!(sentence.contains(word), "{what}: {word:?} is not in: {sentence}");
        }
        assert!(sentence.contains("nothing of it is stored"), "{what}: {sentence}");
        for left in ["copy", "copy.partial"] {
            assert!(!workdir.path(left).exists(), "{what}: {left}");
        }
    }
}

#[test]
fn changed_records_are_refused_with_line_and_reason() {
    assert_refused(&[
        ("a value", |l| l.replace(5, "[0,null]", "[1,null]"), &["line 6:", "hash", "was changed"]),
        ("a hash", |l| l.replace(5, "\"hash\":\"", "\"hash\":\"0"), &["line 6:", "hash"]),
        ("a salt", |l| l.replace(5, "\"salts\":[\"", "\"salts\":[\"g"), &["line 6:", "a salt"]),
        (
            "a time",
            |l| l.replace(5, "\"timestamp\":\"20", "\"timestamp\":\"21"),
            &["line 6:", "hash"],
        ),
        ("a seq", |l| l.replace(5, "\"seq\":5", "\"seq\":6"), &["line 6:", "hash"]),
        ("an event", |l| l.replace(5, "\"b.0\"", "\"b.9\""), &["line 6:", "hash"]),
        ("a version", |l| l.replace(5, "\"version\":1", "\"version\":2"), &["line 6:", "hash"]),
        ("a user", |l| l.replace(4, "ann@", "bob@"), &["line 5:", "hash"]),
        ("no user", |l| l.replace(4, ",\"to\":\"ann@example.com\"", ""), &["line 5:", "hash"]),
        (
            "a member more",
            |l| l.replace(5, "{\"seq\"", "{\"x\":1,\"seq\""),
            &["line 6:", "unknown"],
        ),
        (
            "another form",
            |l| l.replace(5, ",\"event\"", ", \"event\""),
            &["line 6:", "not written"],
        ),
        ("no JSON", |l| l.0[6].truncate(20), &["line 7:", "not a record"]),
        ("an empty line", |l| l.0[6].clear(), &["line 7:", "not a record"]),
    ]);
}

#[test]
fn missing_moved_or_forged_lines_are_refused_with_line_and_reason() {
    assert_refused(&[
        ("a line missing", |l| drop(l.0.remove(9)), &["line 10:", "seq 9 should", "missing"]),
        ("two lines swapped", |l| l.0.swap(9, 10), &["line 10:", "seq 9 should", "order"]),
        (
            "a line twice",
            |l| l.0.insert(9, l.0[8].clone()),
            &["line 10:", "seq 9 should", "wrong place"],
        ),
        (
            "a version skipped",
            |l| l.forge(10, 9, 0, None),
            &["line 11:", "(event", "version of its event is 2,"],
        ),
        ("a time fallen", |l| l.forge(10, 2, 9_999_999, None), &["line 11:", "earlier than"]),
        (
            "an id twice",
            |l| {
                let id = l.record(3)["id"].as_str().expect("an id").to_owned();
                l.forge(10, 2, 0, Some(&id));
            },
            &["line 11:", "also that of an earlier record"],
        ),
        ("a record replaced", |l| l.forge(10, 2, 0, None), &["line 200:", "replaced together"]),
        ("the end missing", |l| drop(l.0.pop()), &["is cut", "after seq 198"]),
        ("the last record missing", |l| drop(l.0.remove(198)), &["line 199:", "last lines"]),
        ("a line behind the end", |l| l.0.push(l.0[5].clone()), &["line 201:", "follows the line"]),
        (
            "the end's chain",
            |l| {
                let end = l.0.last_mut().expect("an end");
                *end = end.replacen("\"chain\":\"", "\"chain\":\"0", 1);
            },
            &["line 200:", "64 hexadecimal"],
        ),
        ("the beginning missing", |l| drop(l.0.remove(0)), &["line 1:", "does not begin"]),
        (
            "a newer format",
            |l| l.0[0] = l.0[0].replace("\"format\":0", "\"format\":3"),
            &["line 1:", "format 3", "newer"],
        ),
        ("nothing", |l| l.0.clear(), &["line 1:", "empty"]),
    ]);
}

#[test]
fn flipped_bits_and_truncations_are_refused() {
    let workdir = Workdir::new();
    let program = workdir.serve("data");
    for n in 0..20 {
        program.client.put("n", &format!("{{\"n\":{n}.50}}"));
    }
    program.stop();
    let whole = workdir.exported("data").into_bytes();
    // The first line holds the log's name, which no hash covers.
    let begin = whole.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    let mut random = seeded_random();
    for _ in 0..60 {
        let at = random.random_range(begin..whole.len());
        let bit = 1 << random.random_range(0..8);
        let mut changed = whole.clone();
        changed[at] ^= bit;
        workdir.write("e", &changed);
        let sentence = workdir.run(&["import", "e", "--data-dir", "copy"]).refused(1);
        assert!(
            sentence.contains("line ") || sentence.contains("is cut"),
            "{at} {bit}: {sentence}"
        );
        assert!(!workdir.path("copy").exists(), "{at} {bit}");
    }
    for _ in 0..20 {
        let len = random.random_range(0..whole.len());
        workdir.write("e", &whole[..len]);
        workdir.run(&["import", "e", "--data-dir", "copy"]).refused(1);
        assert!(!workdir.path("copy").exists(), "{len}");
    }
}

/// The chain can be verified from the lines of an export alone.
#[test]
fn chain_in_the_end_line_is_computed_from_the_leaves() {
    let workdir = Workdir::filled();
    let exported = workdir.exported("data");
    let mut after = [0; 32];
    let mut stated = String::new();
    for line in exported.lines().skip(1) {
        let value: Value = serde_json::from_str(line).expect("JSON");
        if let Some(end) = value.get("end") {
            stated = end["chain"].as_str().expect("text").to_owned();
            break;
        }
        after = chain(&after, &leaf_of_line(line));
    }
    let found = after.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    assert_eq!(found, stated);
}

//! `broker export`: complete, truncated and resumed files.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use rand::Rng as _;
use serde_json::Value;

use crate::cli::{Workdir, fill};
use crate::harness::files::tree;
use crate::harness::random::seeded_random;
use crate::harness::wait::wait_until;

#[test]
fn export_is_the_log_between_a_begin_and_an_end_line() {
    let workdir = Workdir::filled();
    let exported = workdir.exported("data");
    let program = workdir.serve("data");
    let log = program.client.lines("/log");
    program.stop();
    let lines: Vec<&str> = exported.lines().collect();
    assert!(exported.ends_with("}\n"));
    let begin: Value = serde_json::from_str(lines[0]).expect("JSON");
    assert_eq!(begin["export"]["format"], 0, "{begin}");
    assert_eq!(begin["export"]["after"], 0, "{begin}");
    let end: Value = serde_json::from_str(lines[lines.len() - 1]).expect("JSON");
    let records = &lines[1..lines.len() - 1];
    assert_eq!(end["end"]["records"], records.len() as u64, "{end}");
    assert_eq!(end["end"]["seq"], records.len() as u64, "{end}");
    assert_eq!(log.len(), records.len() + 1, "the log now has one more open");
    let mut private = 0;
    for (line, shown) in records.iter().zip(&log) {
        let record: Value = serde_json::from_str(line).expect("JSON");
        if record.get("to").is_some() {
            private += 1;
            assert_eq!(record["hash"], serde_json::from_str::<Value>(shown).expect("JSON")["hash"]);
        } else {
            assert_eq!(line, shown);
        }
    }
    assert_eq!(private, 28);
}

#[test]
fn export_cut_at_any_byte_resumes_to_the_same_bytes() {
    let workdir = Workdir::filled();
    let whole = workdir.exported("data");
    let mut random = seeded_random();
    let lengths: Vec<usize> = (0..20).map(|_| random.random_range(0..whole.len())).collect();
    let first_line = whole.find('\n').expect("a line");
    for len in [0, 1, first_line, first_line + 1, whole.len() - 1].into_iter().chain(lengths) {
        workdir.write("e", &whole.as_bytes()[..len]);
        let output = workdir.run(&["export", "e", "--data-dir", "data"]);
        assert!(output.stderr.contains("exported"), "{output:?}");
        output.ok();
        assert!(workdir.read("e") == whole.as_bytes(), "cut at {len}");
    }
    // Zeros at the end, as after a power cut.
    let cut = whole.len() / 2;
    workdir.write("e", [&whole.as_bytes()[..cut], &[0; 100]].concat());
    workdir.run(&["export", "e", "--data-dir", "data"]).ok();
    assert!(workdir.read("e") == whole.as_bytes());
}

#[test]
fn killed_export_resumes() {
    let workdir = Workdir::filled();
    let whole = workdir.exported("data");
    let mut random = seeded_random();
    for _ in 0..5 {
        let _ = fs::remove_file(workdir.path("e"));
        let mut child =
            workdir.command(&["export", "e", "--data-dir", "data"]).spawn().expect("it starts");
        let enough = random.random_range(0..whole.len() as u64);
        wait_until("it has written enough", || {
            fs::metadata(workdir.path("e")).is_ok_and(|file| file.len() >= enough)
        });
        // It may have ended already.
        let _ = child.kill();
        child.wait().expect("it ends");
        workdir.run(&["export", "e", "--data-dir", "data"]).ok();
        assert!(workdir.read("e") == whole.as_bytes());
    }
}

#[test]
fn repeated_export_changes_nothing_until_the_log_grows() {
    let workdir = Workdir::filled();
    workdir.run(&["export", "e", "--data-dir", "data"]).ok();
    let before = workdir.read("e");
    let output = workdir.run(&["export", "e", "--data-dir", "data"]);
    let kept = before.iter().filter(|byte| **byte == b'\n').count() - 2;
    assert!(output.stderr.contains(&format!("of which {kept} were there already")), "{output:?}");
    assert!(workdir.read("e") == before);

    let program = workdir.serve("data");
    fill(program.client);
    // Also while the server runs.
    workdir.run(&["export", "e", "--data-dir", "data"]).ok();
    program.stop();
    assert!(workdir.read("e") == workdir.exported("data").as_bytes());
    assert!(workdir.read("e").len() > before.len());
}

#[test]
fn file_that_is_no_prefix_of_the_export_is_refused_and_untouched() {
    let workdir = Workdir::filled();
    let whole = workdir.exported("data");
    let other = Workdir::filled().exported("data");
    let changed = whole.replacen("[3,null]", "[4,null]", 1);
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let more = [&whole, lines[5]].concat();
    let end_too_soon = [&lines[..9].concat(), lines[lines.len() - 1], lines[9]].concat();
    for (what, file) in [
        ("another text", "somebody's text\n"),
        ("no complete line", "somebody's"),
        ("another log", &other),
        ("a changed value", &changed),
        ("more than the log", &more),
        ("an end in the middle", &end_too_soon),
    ] {
        workdir.write("e", file);
        let sentence = workdir.run(&["export", "e", "--data-dir", "data"]).refused(1);
        assert!(sentence.contains("name another file"), "{what}: {sentence}");
        assert!(workdir.read("e") == file.as_bytes(), "{what}");
    }
    workdir.write("e", &changed);
    let at = whole.lines().position(|line| line.contains("[3,null]")).expect("a line") + 1;
    let sentence = workdir.run(&["export", "e", "--data-dir", "data"]).refused(1);
    assert!(sentence.contains(&format!("line {at} ")), "{sentence}");
}

#[test]
fn export_can_begin_at_any_seq() {
    let workdir = Workdir::filled();
    let whole = workdir.exported("data");
    let lines: Vec<&str> = whole.lines().collect();
    for args in [["--after", "40"], ["--from", "41"]] {
        let args = ["export", "--data-dir", "data", args[0], args[1]];
        let part = workdir.run(&args).ok();
        let part: Vec<&str> = part.lines().collect();
        assert_eq!(part[1..part.len() - 1], lines[41..lines.len() - 1]);
        let begin: Value = serde_json::from_str(part[0]).expect("JSON");
        assert_eq!(begin["export"]["after"], 40);
        let chain = |line: &str| {
            let end: Value = serde_json::from_str(line).expect("JSON");
            end["end"]["chain"].clone()
        };
        assert_eq!(chain(part[part.len() - 1]), chain(lines[lines.len() - 1]));
    }
    let last = (lines.len() - 2).to_string();
    let args = ["export", "--data-dir", "data", "--after", &last];
    assert_eq!(workdir.run(&args).ok().lines().count(), 2, "no records yet");
    let args = ["export", "--data-dir", "data", "--after", "100000"];
    let sentence = workdir.run(&args).refused(1);
    assert!(sentence.contains("before seq 100000"), "{sentence}");
}

/// `broker export | head -1` prints no error.
#[test]
fn closed_pipe_ends_the_export_without_an_error_message() {
    let workdir = Workdir::filled();
    let mut command = workdir.command(&["export", "--data-dir", "data"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert!(line.starts_with("{\"export\":"), "{line}");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(!output.status.success(), "a truncated export is no success");
}

/// Regression: export first tried to read its destination, and blocked forever on a pipe.
#[test]
fn export_to_a_pipe_or_device_is_written_whole() {
    let workdir = Workdir::filled();
    let whole = workdir.exported("data");
    let made = Command::new("mkfifo").arg(workdir.path("pipe")).status();
    assert!(made.expect("mkfifo").success());
    let mut command = workdir.command(&["export", "pipe", "--data-dir", "data"]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut read = String::new();
    File::open(workdir.path("pipe")).expect("a pipe").read_to_string(&mut read).expect("UTF-8");
    assert!(read == whole);
    assert!(child.wait().expect("it ends").success());

    let mut command = workdir.command(&["export", "/dev/stdout", "--data-dir", "data"]);
    let output = command.stdout(Stdio::piped()).output().expect("it runs");
    assert!(output.status.success() && output.stdout == whole.as_bytes());
    workdir.run(&["export", "/dev/null", "--data-dir", "data"]).ok();
    let output = workdir.run(&["export", "/dev/full", "--data-dir", "data"]).refused(1);
    assert!(output.contains("writing to /dev/full failed"), "{output}");
    fs::create_dir(workdir.path("folder")).expect("a directory");
    let output = workdir.run(&["export", "folder", "--data-dir", "data"]).refused(1);
    assert!(output.contains("opening folder failed"), "{output}");
}

/// Regression: export left an empty file among the segments, which the next start called damage.
#[test]
fn export_into_its_data_directory_is_refused_and_creates_nothing() {
    let workdir = Workdir::filled();
    let link = |to: &str, name: &str| symlink(workdir.path(to), workdir.path(name));
    link("data", "link").expect("a link");
    link("data/journal/00000000000000000900.seg", "nowhere").expect("a link");
    let before = tree(&workdir.path("data"));
    for to in ["data/x", "data/journal/00000000000000000900.seg", "link/x", "./data/../data/x"] {
        let output = workdir.run(&["export", to, "--data-dir", "data"]).refused(1);
        assert!(output.contains("lies in the directory that is copied"), "{to}: {output}");
    }
    let output = workdir.run(&["export", "nowhere", "--data-dir", "data"]).refused(1);
    assert!(output.contains("leads through a broken link"), "{output}");
    assert!(tree(&workdir.path("data")) == before);
}

//! Damaged files: the server either refuses to start and names the file, or serves every
//! acknowledged record with the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::Rng as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::files::{change, copy_all, files, flip, segments, written_len};
use crate::harness::program::{Program, run, small};
use crate::harness::random::seeded_random;
use crate::harness::wait::WAIT_MAX;
use crate::harness::wire::Client;

/// A directory after a clean end, and everything that could be read from it.
struct Original {
    dir: TempDir,
    /// The lines of the log, in order.
    log: Vec<String>,
    histories: BTreeMap<String, Vec<String>>,
}

/// Result of a start on a damaged copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StartOutcome {
    Refused,
    Intact,
}

impl Original {
    /// Creates a log of several segments and events, with a restart in the middle.
    fn create() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for run in 0..2 {
            let program = start(dir.path());
            for n in 0..25 {
                let large = format!("\"{run}.{n} {}\"", "x".repeat(40_000));
                program.client.put(&format!("large.{}", n % 3), &large);
                let batch: Vec<_> = (0..4)
                    .map(|i| format!("{{\"event\":\"small.{i}\",\"data\":{{\"n\":{n}.50}}}}"))
                    .collect();
                program.client.insert(format!("[{}]", batch.join(","))).expect(201);
            }
            program.stop();
        }
        let program = start(dir.path());
        let log = program.client.lines("/log");
        let histories = histories(program.client);
        program.stop();
        Self { dir, log, histories }
    }

    fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a directory");
        copy_all(&self.dir.path().join("data"), &copy.path().join("data"));
        copy
    }

    /// The segments, relative to the data directory.
    fn segments(&self) -> Vec<PathBuf> {
        let data = self.dir.path().join("data");
        let relative = |path: PathBuf| path.strip_prefix(&data).expect("within").to_owned();
        let names: Vec<_> = segments(&data).into_iter().map(relative).collect();
        assert!(names.len() >= 3, "{names:?}");
        names
    }

    fn written_len(&self, segment: &Path) -> usize {
        written_len(&fs::read(self.dir.path().join("data").join(segment)).expect("a segment"))
    }

    /// Damages a copy and starts on it. Checks the error, or everything that is served.
    #[track_caller]
    fn outcome(&self, what: &str, damage: impl FnOnce(&Path)) -> StartOutcome {
        let copy = self.copy();
        damage(&copy.path().join("data"));
        let mut command = small(copy.path());
        command.env("BROKER_LOG", "warn");
        let program = match Program::try_start(command) {
            Ok(program) => program,
            Err(refusal) => {
                let stderr = refusal.stderr;
                assert!(!stderr.contains("panicked"), "{what}: {stderr}");
                let sentence = stderr.lines().find(|line| line.starts_with("broker: "));
                let sentence = sentence.unwrap_or_else(|| panic!("{what}: no error: {stderr}"));
                let data = copy.path().join("data").display().to_string();
                assert!(sentence.contains(&data), "{what}: no file is named: {sentence}");
                return StartOutcome::Refused;
            }
        };
        // Every open appends one record.
        let mut log = program.client.lines("/log");
        let own = log.pop().expect("the open's record");
        assert!(own.contains("\"event\":\"broker:open\""), "{what}: {own}");
        assert_eq!(log.len(), self.log.len(), "{what}: records are missing");
        assert!(log == self.log, "{what}: the log has other bytes");
        assert!(histories(program.client) == self.histories, "{what}: the history differs");
        program.client.put("small.0", "\"it goes on\"");
        program.stop();
        StartOutcome::Intact
    }
}

fn start(dir: &Path) -> Program {
    Program::start(small(dir))
}

/// The history of each event, which the projection serves.
fn histories(client: Client) -> BTreeMap<String, Vec<String>> {
    let list = client.get("/audit").expect(200).json();
    let names = list.as_array().expect("an array").iter();
    let names = names.map(|name| name["event"].as_str().expect("a name").to_owned());
    names.map(|name| (name.clone(), client.lines(&format!("/audit/{name}")))).collect()
}

#[test]
fn journal_with_a_lost_or_changed_byte_is_refused() {
    let original = Original::create();
    let mut random = seeded_random();
    let segments = original.segments();
    let (first, second, last) = (&segments[0], &segments[1], segments.last().expect("some"));
    for segment in [first, second, &segments[segments.len() / 2], last] {
        let end = original.written_len(segment);
        for case in ["flip", "zero", "cut", "garbage"] {
            // Within the written part, so that it hits acknowledged records.
            let at = random.random_range(0..end - 1);
            let len = random.random_range(1..=(end - at).min(5_000));
            let what = format!("{case} {} at {at}, {len}", segment.display());
            let outcome = original.outcome(&what, |data| {
                change(&data.join(segment), |bytes| match case {
                    "flip" => bytes[at] ^= 1 << (at % 8),
                    "zero" => bytes[at..at + len].fill(0),
                    "cut" => bytes.truncate(at),
                    _ => bytes[at..at + len].iter_mut().for_each(|byte| *byte = !*byte),
                });
            });
            // The zeroed range may have been zeros before, such as the upper bytes of a number.
            assert!(outcome == StartOutcome::Refused || case == "zero", "{what}: {outcome:?}");
        }
    }
}

#[test]
fn damaged_last_group_after_a_clean_end_is_not_taken_for_a_torn_write() {
    let original = Original::create();
    let last = original.segments().pop().expect("a segment");
    let end = original.written_len(&last);
    for back in [1, 2, 10, 60] {
        for cut in [true, false] {
            let what = format!("the last {back} bytes, cut: {cut}");
            let outcome = original.outcome(&what, |data| {
                change(&data.join(&last), |bytes| match cut {
                    true => bytes.truncate(end - back),
                    false => bytes[end - back..].fill(0),
                });
            });
            assert_eq!(outcome, StartOutcome::Refused, "{what}");
        }
    }
}

#[test]
fn swapped_deleted_duplicated_or_foreign_segments_are_refused() {
    let (original, other) = (Original::create(), Original::create());
    let segments = original.segments();
    let (first, second) = (&segments[0], &segments[1]);
    let last = segments.last().expect("a segment");
    let swap = |data: &Path| {
        let temporary = data.join("aside");
        fs::rename(data.join(first), &temporary).expect("moved");
        fs::rename(data.join(second), data.join(first)).expect("moved");
        fs::rename(temporary, data.join(second)).expect("moved");
    };
    assert_eq!(original.outcome("swapped", swap), StartOutcome::Refused);
    for missing in [first, second, last] {
        let remove = |data: &Path| fs::remove_file(data.join(missing)).expect("removed");
        let what = format!("without {}", missing.display());
        assert_eq!(original.outcome(&what, remove), StartOutcome::Refused);
    }
    let all_missing = |data: &Path| {
        segments.iter().for_each(|missing| fs::remove_file(data.join(missing)).expect("removed"));
    };
    assert_eq!(original.outcome("without any", all_missing), StartOutcome::Refused);
    let double = |data: &Path| {
        fs::copy(data.join(first), data.join(second)).expect("copied");
    };
    assert_eq!(original.outcome("the first twice", double), StartOutcome::Refused);
    let foreign = |data: &Path| {
        let theirs = other.dir.path().join("data").join(&other.segments()[0]);
        fs::copy(theirs, data.join(first)).expect("copied");
    };
    assert_eq!(original.outcome("of another log", foreign), StartOutcome::Refused);
    let no_journal = |data: &Path| fs::remove_dir_all(data.join("journal")).expect("removed");
    assert_eq!(original.outcome("without a journal", no_journal), StartOutcome::Refused);
}

#[test]
fn rolled_back_journal_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = start(dir.path());
    program.client.put("a", "1");
    program.stop();
    let stale = tempfile::tempdir().expect("a directory");
    copy_all(&dir.path().join("data/journal"), &stale.path().join("journal"));
    let program = start(dir.path());
    (0..20).for_each(|n| drop(program.client.put("a", &n.to_string())));
    // A read makes the projection apply all records.
    program.client.get("/audit/a").expect(200);
    program.stop();
    fs::remove_dir_all(dir.path().join("data/journal")).expect("removed");
    copy_all(&stale.path().join("journal"), &dir.path().join("data/journal"));
    let Err(refusal) = Program::try_start(small(dir.path())) else { panic!("20 records are lost") };
    assert!(refusal.stderr.contains("broker: "), "{refusal:?}");
}

/// Always opens an existing projection in the background.
fn background_open(dir: &Path) -> Command {
    let mut command = small(dir);
    command.env("BROKER_BACKGROUND_OPEN_RECORDS", "0");
    command
}

/// A directory with twenty records from each of two runs, and a copy of its data after the first.
fn two_runs() -> (TempDir, TempDir) {
    let (dir, stale) = (tempfile::tempdir(), tempfile::tempdir());
    let (dir, stale) = (dir.expect("a directory"), stale.expect("a directory"));
    for run in 0..2 {
        let program = Program::start(background_open(dir.path()));
        (0..20).for_each(|n| drop(program.client.put("a", &n.to_string())));
        program.client.get("/audit/a").expect(200);
        program.stop();
        if run == 0 {
            copy_all(&dir.path().join("data"), stale.path());
        }
    }
    (dir, stale)
}

/// The start does not wait for the projection, which finds the loss later and stops the server.
#[test]
fn rolled_back_journal_is_refused_when_the_projection_opens_in_the_background() {
    let (dir, stale) = two_runs();
    let data = dir.path().join("data");
    fs::remove_dir_all(data.join("journal")).expect("removed");
    copy_all(&stale.path().join("journal"), &data.join("journal"));
    let progress_file = Path::new("projection/progress");
    fs::copy(stale.path().join(progress_file), data.join(progress_file)).expect("copied");
    match Program::try_start(background_open(dir.path())) {
        Ok(mut program) => {
            assert_eq!(program.wait(WAIT_MAX).code(), Some(1));
            let log = program.log();
            assert!(log.contains("records that were acknowledged are missing"), "{log}");
            assert!(log.contains("do not start on it again"), "{log}");
        }
        // The loss may have been found before the server listened.
        Err(refusal) => assert_eq!(refusal.status.code(), Some(1), "{refusal:?}"),
    }
    // Every later start is refused, too.
    for _ in 0..2 {
        let Err(refusal) = Program::try_start(small(dir.path())) else { panic!("a loss") };
        assert!(refusal.stderr.contains("broker: the history was applied"), "{refusal:?}");
        assert!(refusal.stderr.contains("projection/loss"), "{refusal:?}");
    }
    for name in ["verify", "rebuild"] {
        let mut command = small(dir.path());
        command.arg(name);
        let (status, _, stderr) = run(command);
        assert!(!status.success(), "{name}: {stderr}");
        assert!(stderr.contains("records that were acknowledged are missing"), "{stderr}");
    }
    assert!(data.join("projection/loss").exists(), "the only record of the loss is kept");
}

/// Without the watermark, as after a power cut, the projection is opened before the log.
#[test]
fn log_without_a_watermark_is_checked_against_the_projection_before_serving() {
    let (dir, stale) = two_runs();
    let data = dir.path().join("data");
    let progress_file = Path::new("projection/progress");
    fs::copy(stale.path().join(progress_file), data.join(progress_file)).expect("copied");
    fs::remove_file(data.join("journal/mark")).expect("removed");
    let program = Program::start(background_open(dir.path()));
    assert!(program.log().contains("the history is opened first"), "{}", program.log());
    assert_eq!(program.client.lines("/audit/a").len(), 40);
    program.stop();

    fs::remove_dir_all(data.join("journal")).expect("removed");
    copy_all(&stale.path().join("journal"), &data.join("journal"));
    fs::copy(stale.path().join(progress_file), data.join(progress_file)).expect("copied");
    fs::remove_file(data.join("journal/mark")).expect("removed");
    let Err(refusal) = Program::try_start(background_open(dir.path())) else {
        panic!("20 records are lost")
    };
    assert!(refusal.stderr.contains("other evidence shows"), "{refusal:?}");
}

/// After each kill the store is opened in the background, and every read is correct meanwhile.
#[test]
fn history_opened_in_the_background_is_complete_after_every_kill() {
    let dir = tempfile::tempdir().expect("a directory");
    let progress_file = dir.path().join("data/projection/progress");
    for run in 0..6 {
        assert_eq!(progress_file.exists(), run > 0, "all but the first open in the background");
        let mut command = small(dir.path());
        command.env("BROKER_BACKGROUND_OPEN_RECORDS", "10").env("BROKER_LOG", "info");
        let program = Program::start(command);
        let values = |runs: u32| (0..25 * runs).map(|n| n.to_string());
        values(run + 1).skip(values(run).count()).for_each(|n| drop(program.client.put("a", &n)));
        let history = program.client.lines("/audit/a");
        let read = history.iter().map(|line| {
            let record: Value = serde_json::from_str(line).expect("a record");
            record["data"].to_string()
        });
        assert!(read.eq(values(run + 1)), "{history:?}");
        assert_eq!(program.log().contains("the projection was opened"), run > 0);
        program.kill();
    }
}

#[test]
fn damaged_watermark_or_identity_is_refused_or_harmless() {
    let original = Original::create();
    let mut random = seeded_random();
    for name in ["journal/mark", "identity"] {
        let len = fs::read(original.dir.path().join("data").join(name)).expect("a file").len();
        for _ in 0..3 {
            let at = random.random_range(0..len);
            let what = format!("{name} at {at}");
            original.outcome(&format!("flip {what}"), |data| {
                flip(&data.join(name), at, 1 << (at % 8));
            });
            original.outcome(&format!("cut {what}"), |data| {
                change(&data.join(name), |bytes| bytes.truncate(at));
            });
        }
        original.outcome(&format!("without {name}"), |data| {
            fs::remove_file(data.join(name)).expect("removed");
        });
        original.outcome(&format!("empty {name}"), |data| change(&data.join(name), Vec::clear));
    }
    let lock = original.outcome("without lock", |data| drop(fs::remove_file(data.join("lock"))));
    assert_eq!(lock, StartOutcome::Intact);
}

#[test]
fn missing_damaged_or_foreign_projection_is_rebuilt() {
    let (original, other) = (Original::create(), Original::create());
    let mut random = seeded_random();
    let remove = |data: &Path| fs::remove_dir_all(data.join("projection")).expect("removed");
    assert_eq!(original.outcome("without a projection", remove), StartOutcome::Intact);
    let empty = |data: &Path| {
        remove(data);
        fs::create_dir(data.join("projection")).expect("made");
    };
    assert_eq!(original.outcome("an empty projection", empty), StartOutcome::Intact);
    let not_a_directory = |data: &Path| {
        remove(data);
        fs::write(data.join("projection"), "not a directory").expect("written");
    };
    original.outcome("a file instead of the projection", not_a_directory);
    let foreign = |data: &Path| {
        remove(data);
        copy_all(&other.dir.path().join("data/projection"), &data.join("projection"));
    };
    assert_eq!(original.outcome("the projection of another log", foreign), StartOutcome::Intact);

    let projection = original.dir.path().join("data/projection");
    for file in files(&projection) {
        let len = fs::metadata(projection.join(&file)).expect("a file").len();
        let len = usize::try_from(len).expect("small");
        let path = Path::new("projection").join(&file);
        let mut cases = vec!["remove"];
        if len > 0 {
            cases.extend(["flip", "flip", "flip", "cut", "zero"]);
        }
        for case in cases {
            let at = random.random_range(0..len.max(1));
            let end = (at + 5_000).min(len);
            let what = format!("{case} {} at {at}", path.display());
            let outcome = original.outcome(&what, |data| match case {
                "remove" => fs::remove_file(data.join(&path)).expect("removed"),
                "flip" => flip(&data.join(&path), at, 1 << (at % 8)),
                "cut" => change(&data.join(&path), |bytes| bytes.truncate(at)),
                _ => change(&data.join(&path), |bytes| bytes[at..end].fill(0)),
            });
            assert_eq!(outcome, StartOutcome::Intact, "{what}: the log is whole, so it starts");
        }
    }
}

#[test]
fn stale_projection_catches_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = start(dir.path());
    (0..10).for_each(|n| drop(program.client.put("a", &n.to_string())));
    program.stop();
    let stale = tempfile::tempdir().expect("a directory");
    copy_all(&dir.path().join("data/projection"), &stale.path().join("projection"));
    let program = start(dir.path());
    (10..30).for_each(|n| drop(program.client.put("a", &n.to_string())));
    let log = program.client.lines("/log");
    let history = program.client.lines("/audit/a");
    program.stop();
    fs::remove_dir_all(dir.path().join("data/projection")).expect("removed");
    copy_all(&stale.path().join("projection"), &dir.path().join("data/projection"));
    let program = start(dir.path());
    assert_eq!(program.client.lines("/log")[..log.len()], log[..]);
    assert_eq!(program.client.lines("/audit/a"), history);
    program.stop();
}

/// Bytes after the last acknowledged record, as a kill leaves them.
#[test]
fn torn_tail_after_a_kill_is_cut_quarantined_and_warned_about() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = start(dir.path());
    (0..10).for_each(|n| drop(program.client.put("a", &n.to_string())));
    let log = program.client.lines("/log");
    program.kill();
    let segment = dir.path().join("data/journal/00000000000000000001.seg");
    let end = written_len(&fs::read(&segment).expect("a segment")).next_multiple_of(8);
    // An interrupted write: only its first bytes reached the disk.
    change(&segment, |bytes| {
        let group = bytes[104..104 + 40].to_vec();
        bytes[end..end + 40].copy_from_slice(&group);
    });
    let program = start(dir.path());
    let lines = program.client.lines("/log");
    assert_eq!(lines[..log.len()], log[..]);
    assert!(program.log_lines().iter().any(|line| line["level"] == "WARN"), "{}", program.log());
    let kept = files(&dir.path().join("data/journal"));
    assert!(kept.len() > 2, "the tail is quarantined: {kept:?}");
    program.stop();
}

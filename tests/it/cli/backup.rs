//! `broker backup` of running servers, and `broker restore`.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::Rng as _;

use crate::cli::{Workdir, fill};
use crate::harness::files::{copy_all, flip, tree, written_len};
use crate::harness::program::{Program, small};
use crate::harness::random::seeded_random;
use crate::harness::wait::wait_until;
use crate::harness::wire::Client;

/// Inserts per round. A log that grows at full speed soon becomes too large for an unoptimised
/// build to read.
const ROUND_INSERTS: usize = 150;

/// The inserts that the writers may do and have done.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    allowed: AtomicUsize,
    /// The acknowledged ids.
    acknowledged: Mutex<Vec<String>>,
}

impl Load {
    fn len(&self) -> usize {
        self.acknowledged.lock().expect("no panic").len()
    }

    /// Inserts until `stop` is set.
    fn insert(&self, client: Client, writer: usize) {
        let mut n = 0;
        while !self.stop.load(Ordering::Relaxed) {
            if self.len() >= self.allowed.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(2));
                continue;
            }
            n += 1;
            // Large values fill segments quickly, so that a backup meets one that has just begun.
            let padding = "x".repeat(if n % 6 == 0 { 12_000 } else { 10 });
            let receipt = client.put(&format!("w.{writer}"), &format!("\"{n} {padding}\""));
            let id = receipt["id"].as_str().expect("an id").to_owned();
            self.acknowledged.lock().expect("no panic").push(id);
        }
    }
}

/// The id in a line of an export.
fn id(line: &str) -> &str {
    line.split_once("\"id\":\"").and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default()
}

#[test]
fn backup_under_load_holds_everything_acknowledged_before_it_began() {
    let workdir = Workdir::new();
    let program = workdir.serve("data");
    fill(program.client);
    let (client, load) = (program.client, Load::default());
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let load = &load;
            scope.spawn(move || load.insert(client, writer));
        }
        for n in 0..8 {
            let enough = load.len() + 25;
            load.allowed.fetch_add(ROUND_INSERTS, Ordering::Relaxed);
            wait_until("more is acknowledged", || load.len() >= enough);
            // Every third backup is a new one; the others update the same one.
            let to = if n % 3 == 0 { format!("new-{n}") } else { "backup".to_owned() };
            let before = load.acknowledged.lock().expect("no panic").clone();
            workdir.run(&["backup", &to, "--data-dir", "data"]).ok();
            let exported = workdir.exported(&to);
            let ids: HashSet<_> = exported.lines().map(id).collect();
            for id in &before {
                assert!(ids.contains(id.as_str()), "{to} lacks the acknowledged {id}");
            }
            let verified = workdir.run(&["verify", "--data-dir", &to]).ok();
            assert!(!verified.contains("note:"), "{verified}");
        }
        load.stop.store(true, Ordering::Relaxed);
    });
    program.stop();
    assert!(workdir.segments("data").len() > 5, "the load filled several segments");

    // A backup can be served: it is a prefix of the same log, and continues with its own epoch.
    let backup = workdir.exported("backup");
    let body = backup.rsplit_once("{\"end\"").expect("an end").0;
    assert!(workdir.exported("data").starts_with(body));
    let served = workdir.serve("backup");
    served.client.put("w.0", "1");
    served.stop();
    let own = workdir.exported("backup");
    assert!(own.starts_with(body) && own.matches("\"broker:open\"").count() == 2);
    let output = workdir.run(&["backup", "backup", "--data-dir", "data"]).refused(1);
    assert!(output.contains("a server has used it since"), "{output}");
}

#[test]
fn repeated_backup_copies_only_new_records() {
    let workdir = Workdir::filled();
    let output = workdir.run(&["backup", "b", "--data-dir", "data"]).ok();
    assert!(
        output.contains("backed up 198 records") && output.contains("198 of them new"),
        "{output}"
    );
    let output = workdir.run(&["backup", "b", "--data-dir", "data"]).ok();
    assert!(
        output.contains("backed up 198 records") && output.contains(" 0 of them new"),
        "{output}"
    );
    let program = workdir.serve("data");
    fill(program.client);
    let output = workdir.run(&["backup", "b", "--data-dir", "data"]).ok();
    assert!(
        output.contains("backed up 297 records") && output.contains(" 99 of them new"),
        "{output}"
    );
    program.stop();
    assert!(workdir.exported("b") == workdir.exported("data"));
    assert_eq!(workdir.read("b/identity"), workdir.read("data/identity"));
}

#[test]
fn killed_backup_resumes_and_is_invisible_until_complete() {
    let workdir = Workdir::filled();
    let whole = workdir.exported("data");
    let mut random = seeded_random();
    let (mut n, mut interrupted) = (0, 0);
    while n < 6 || interrupted < 3 {
        n += 1;
        assert!(n < 100, "{interrupted} of {n} were interrupted");
        let to = format!("b-{n}");
        let args = ["backup", &to, "--data-dir", "data"];
        workdir.kill_copying(&args, &to, random.random_range(0..12));
        if workdir.path(&to).exists() {
            assert!(workdir.exported(&to) == whole);
        } else {
            interrupted += 1;
        }
        workdir.run(&args).ok();
        assert!(workdir.exported(&to) == whole);
        assert!(!workdir.path(&format!("{to}.partial")).exists());
    }
}

#[test]
fn backup_refuses_a_damaged_log_and_a_backup_of_another_log() {
    let workdir = Workdir::filled();
    workdir.run(&["backup", "good", "--data-dir", "data"]).ok();
    let segment = workdir.segments("data").swap_remove(1);
    flip(&segment, 200, 4);
    let output = workdir.run(&["backup", "b", "--data-dir", "data"]).refused(1);
    assert!(output.contains("the first bad record is seq "), "{output}");
    assert!(output.contains(&segment.display().to_string()), "{output}");
    assert!(!workdir.path("b").exists());
    // The good backup from before is not changed.
    workdir.run(&["backup", "good", "--data-dir", "data"]).refused(1);
    workdir.run(&["verify", "--data-dir", "good"]).ok();

    let other = Workdir::filled();
    let good = workdir.path("good");
    let data = other.path("data");
    let args = ["backup", good.to_str().expect("UTF-8"), "--data-dir"];
    let output = workdir.run(&[&args[..], &[data.to_str().expect("UTF-8")]].concat()).refused(1);
    assert!(output.contains("and not the log"), "{output}");
}

#[test]
fn backup_into_its_source_or_a_foreign_directory_is_refused() {
    let workdir = Workdir::filled();
    symlink(workdir.path("data"), workdir.path("link")).expect("a link");
    let output = workdir.run(&["backup", "missing/../b", "--data-dir", "data"]).refused(1);
    assert!(output.contains("write it without .."), "{output}");
    for to in ["data", "data/backup", "data/journal/b", "./data/../data/b", "link"] {
        let output = workdir.run(&["backup", to, "--data-dir", "data"]).refused(1);
        assert!(output.contains("lies in the directory that is copied"), "{to}: {output}");
    }
    fs::create_dir(workdir.path("foreign")).expect("a directory");
    workdir.write("foreign/notes.txt", "somebody's");
    let output = workdir.run(&["backup", "foreign", "--data-dir", "data"]).refused(1);
    assert!(output.contains("is not a data directory of Broker"), "{output}");
    assert_eq!(fs::read_dir(workdir.path("foreign")).expect("a directory").count(), 1);
}

#[test]
fn restored_directory_serves_the_backup() {
    let workdir = Workdir::filled();
    workdir.run(&["backup", "b", "--data-dir", "data"]).ok();
    let before = tree(&workdir.path("b"));
    fs::create_dir(workdir.path("empty")).expect("a directory");
    for to in ["new", "empty", "deep/er"] {
        let output = workdir.run(&["restore", "b", "--data-dir", to]).ok();
        assert!(output.contains("restored 198 records"), "{output}");
        assert!(workdir.exported(to) == workdir.exported("data"));
        let program = workdir.serve(to);
        let own = program.client.lines("/log").len();
        assert_eq!(own, 199, "the 198 records and the one of this open");
        program.client.wait_for_history();
        program.stop();
        workdir.run(&["verify", "--data-dir", to]).ok();
        let output = workdir.run(&["restore", "b", "--data-dir", to]).refused(1);
        assert!(output.contains("is not empty"), "{output}");
    }
    assert_eq!(tree(&workdir.path("b")), before, "restore only reads the backup");
    let output = workdir.run(&["restore", "nowhere", "--data-dir", "x"]).refused(1);
    assert!(output.contains("holds no backup"), "{output}");
    fs::create_dir(workdir.path("somebody")).expect("a directory");
    workdir.write("somebody/notes.txt", "");
    let output = workdir.run(&["restore", "b", "--data-dir", "somebody"]).refused(1);
    assert!(output.contains("is not empty: it holds \"notes.txt\""), "{output}");
}

#[test]
fn damaged_backup_is_not_restored() {
    let workdir = Workdir::filled();
    workdir.run(&["backup", "b", "--data-dir", "data"]).ok();
    let mut random = seeded_random();
    for n in 0..12 {
        let segments = workdir.segments("b");
        let segment = &segments[random.random_range(0..segments.len())];
        let whole = fs::read(segment).expect("a segment");
        let offset = random.random_range(0..written_len(&whole));
        flip(segment, offset, 1 << random.random_range(0..8));
        let to = format!("r-{n}");
        let output = workdir.run(&["restore", "b", "--data-dir", &to]).refused(1);
        assert!(output.contains("is damaged in"), "{output}");
        assert!(!workdir.path(&to).exists());
        fs::write(segment, whole).expect("a segment");
    }
}

/// A backup has its own groups and segments, so the locations in the original's history would point
/// to wrong records.
#[test]
fn replacing_the_log_with_its_backup_rebuilds_the_history() {
    let workdir = Workdir::new();
    let program = workdir.serve("data");
    fill(program.client);
    let log = program.client.lines("/log");
    let event = "/audit/w.0";
    program.client.put("w.0", "1");
    let history = program.client.lines(event);
    program.client.wait_for_history();
    // The second start and stop bring the stored history to the end of the log.
    program.stop();
    workdir.serve("data").stop();
    workdir.run(&["backup", "backup", "--data-dir", "data"]).ok();
    let (data, backup) = (workdir.path("data/journal"), workdir.path("backup/journal"));
    fs::remove_dir_all(&data).expect("it is there");
    fs::rename(backup, &data).expect("it can be moved");
    let program = workdir.serve("data");
    wait_until("the history is found invalid", || program.log().contains("are at other locations"));
    assert_eq!(program.client.lines(event), history);
    assert_eq!(program.client.lines("/log")[..log.len()], log);
    program.stop();
}

/// Regression: an unfinished copy given as the source was taken for its own destination and renamed
/// as if complete, and the source was gone.
#[test]
fn unfinished_copy_is_refused_as_a_source() {
    let workdir = Workdir::filled();
    workdir.run(&["backup", "d.partial.whole", "--data-dir", "data"]).ok();
    copy_all(&workdir.path("d.partial.whole"), &workdir.path("d.partial"));
    // The end of the log is missing, as in an interrupted copy.
    fs::remove_file(workdir.segments("d.partial").pop().expect("a segment")).expect("a file");
    symlink(workdir.path("d.partial"), workdir.path("link")).expect("a link");
    let before = tree(&workdir.path("d.partial"));
    for from in ["d.partial", "link", "./d.partial/"] {
        for to in ["d", "e"] {
            let output = workdir.run(&["restore", from, "--data-dir", to]).refused(1);
            assert!(output.contains("is an unfinished copy"), "{from} {to}: {output}");
        }
    }
    for data in ["d.partial", "link"] {
        let output = workdir.run(&["backup", "d", "--data-dir", data]).refused(1);
        assert!(output.contains("is where the directory that is copied lies"), "{data}: {output}");
    }
    for args in [
        ["backup", "x.partial", "--data-dir", "data"],
        ["restore", "d.partial.whole", "--data-dir", "x.partial"],
    ] {
        let output = workdir.run(&args).refused(1);
        assert!(output.contains("has the name of an unfinished copy"), "{output}");
    }
    assert!(tree(&workdir.path("d.partial")) == before);
    assert!(!workdir.path("d").exists() && !workdir.path("e").exists());
    // The complete copy can be restored.
    fs::remove_dir_all(workdir.path("d.partial")).expect("a directory");
    workdir.run(&["restore", "d.partial.whole", "--data-dir", "d"]).ok();
}

/// Regression: the advice was to replace the damaged segment by that of a backup, which a start
/// refused.
#[test]
fn suggested_repair_of_damage_works() {
    let workdir = Workdir::filled();
    workdir.run(&["backup", "b", "--data-dir", "data"]).ok();
    let whole = workdir.exported("data");
    let segment = workdir.segments("data").swap_remove(1);
    let good = fs::read(&segment).expect("a segment");
    flip(&segment, 200, 4);
    for args in [["verify", "--data-dir", "data"], ["inspect", "--data-dir", "data"]] {
        let output = workdir.run(&args);
        let output = format!("{}{}", output.stdout, output.stderr);
        let words = "create a new data directory from a complete backup with broker restore";
        assert!(output.contains(words), "{output}");
        assert!(!output.contains("restore the file"), "{output}");
    }
    let mut start = small(&workdir.path(""));
    start.env("BROKER_DATA_DIR", workdir.path("data"));
    let refusal = Program::try_start(start).err().expect("it is damaged");
    assert!(refusal.stderr.contains("with broker restore"), "{}", refusal.stderr);
    workdir.run(&["restore", "b", "--data-dir", "new"]).ok();
    assert!(workdir.exported("new") == whole);

    fs::write(&segment, good).expect("a segment");
    workdir.write("data/identity", "somebody's");
    let output = workdir.run(&["verify", "--data-dir", "data"]).refused(1);
    assert!(output.contains("copy the file of the same name from any backup"), "{output}");
    fs::copy(workdir.path("b/identity"), workdir.path("data/identity")).expect("a file");
    workdir.run(&["verify", "--data-dir", "data"]).ok();
}

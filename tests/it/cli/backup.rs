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
    let place = Workdir::new();
    let program = place.serve("data");
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
            place.run(&["backup", &to, "--data-dir", "data"]).ok();
            let exported = place.exported(&to);
            let ids: HashSet<_> = exported.lines().map(id).collect();
            for id in &before {
                assert!(ids.contains(id.as_str()), "{to} lacks the acknowledged {id}");
            }
            let verified = place.run(&["verify", "--data-dir", &to]).ok();
            assert!(!verified.contains("note:"), "{verified}");
        }
        load.stop.store(true, Ordering::Relaxed);
    });
    program.stop();
    assert!(place.segments("data").len() > 5, "the load filled several segments");

    // A backup can be served: it is a prefix of the same log, and continues with its own epoch.
    let backup = place.exported("backup");
    let body = backup.rsplit_once("{\"end\"").expect("an end").0;
    assert!(place.exported("data").starts_with(body));
    let served = place.serve("backup");
    served.client.put("w.0", "1");
    served.stop();
    let own = place.exported("backup");
    assert!(own.starts_with(body) && own.matches("\"broker:open\"").count() == 2);
    let said = place.run(&["backup", "backup", "--data-dir", "data"]).refused(1);
    assert!(said.contains("a server has used it since"), "{said}");
}

#[test]
fn repeated_backup_copies_only_new_records() {
    let place = Workdir::filled();
    let said = place.run(&["backup", "b", "--data-dir", "data"]).ok();
    assert!(said.contains("backed up 198 records") && said.contains("198 of them new"), "{said}");
    let said = place.run(&["backup", "b", "--data-dir", "data"]).ok();
    assert!(said.contains("backed up 198 records") && said.contains(" 0 of them new"), "{said}");
    let program = place.serve("data");
    fill(program.client);
    let said = place.run(&["backup", "b", "--data-dir", "data"]).ok();
    assert!(said.contains("backed up 297 records") && said.contains(" 99 of them new"), "{said}");
    program.stop();
    assert!(place.exported("b") == place.exported("data"));
    assert_eq!(place.read("b/identity"), place.read("data/identity"));
}

#[test]
fn killed_backup_resumes_and_is_invisible_until_complete() {
    let place = Workdir::filled();
    let whole = place.exported("data");
    let mut random = seeded_random();
    let (mut n, mut interrupted) = (0, 0);
    while n < 6 || interrupted < 3 {
        n += 1;
        assert!(n < 100, "{interrupted} of {n} were interrupted");
        let to = format!("b-{n}");
        let args = ["backup", &to, "--data-dir", "data"];
        place.kill_copying(&args, &to, random.random_range(0..12));
        if place.path(&to).exists() {
            assert!(place.exported(&to) == whole);
        } else {
            interrupted += 1;
        }
        place.run(&args).ok();
        assert!(place.exported(&to) == whole);
        assert!(!place.path(&format!("{to}.partial")).exists());
    }
}

#[test]
fn backup_refuses_a_damaged_log_and_a_backup_of_another_log() {
    let place = Workdir::filled();
    place.run(&["backup", "good", "--data-dir", "data"]).ok();
    let segment = place.segments("data").swap_remove(1);
    flip(&segment, 200, 4);
    let said = place.run(&["backup", "b", "--data-dir", "data"]).refused(1);
    assert!(said.contains("the first bad record is seq "), "{said}");
    assert!(said.contains(&segment.display().to_string()), "{said}");
    assert!(!place.path("b").exists());
    // The good backup from before is not changed.
    place.run(&["backup", "good", "--data-dir", "data"]).refused(1);
    place.run(&["verify", "--data-dir", "good"]).ok();

    let other = Workdir::filled();
    let good = place.path("good");
    let data = other.path("data");
    let args = ["backup", good.to_str().expect("UTF-8"), "--data-dir"];
    let said = place.run(&[&args[..], &[data.to_str().expect("UTF-8")]].concat()).refused(1);
    assert!(said.contains("and not the log"), "{said}");
}

#[test]
fn backup_into_its_source_or_a_foreign_directory_is_refused() {
    let place = Workdir::filled();
    symlink(place.path("data"), place.path("link")).expect("a link");
    let said = place.run(&["backup", "missing/../b", "--data-dir", "data"]).refused(1);
    assert!(said.contains("write it without .."), "{said}");
    for to in ["data", "data/backup", "data/journal/b", "./data/../data/b", "link"] {
        let said = place.run(&["backup", to, "--data-dir", "data"]).refused(1);
        assert!(said.contains("lies in the directory that is copied"), "{to}: {said}");
    }
    fs::create_dir(place.path("foreign")).expect("a directory");
    place.write("foreign/notes.txt", "somebody's");
    let said = place.run(&["backup", "foreign", "--data-dir", "data"]).refused(1);
    assert!(said.contains("is not a data directory of Broker"), "{said}");
    assert_eq!(fs::read_dir(place.path("foreign")).expect("a directory").count(), 1);
}

#[test]
fn restored_directory_serves_the_backup() {
    let place = Workdir::filled();
    place.run(&["backup", "b", "--data-dir", "data"]).ok();
    let before = tree(&place.path("b"));
    fs::create_dir(place.path("empty")).expect("a directory");
    for to in ["new", "empty", "deep/er"] {
        let said = place.run(&["restore", "b", "--data-dir", to]).ok();
        assert!(said.contains("restored 198 records"), "{said}");
        assert!(place.exported(to) == place.exported("data"));
        let program = place.serve(to);
        let own = program.client.lines("/log").len();
        assert_eq!(own, 199, "the 198 records and the one of this open");
        program.client.wait_for_history();
        program.stop();
        place.run(&["verify", "--data-dir", to]).ok();
        let said = place.run(&["restore", "b", "--data-dir", to]).refused(1);
        assert!(said.contains("is not empty"), "{said}");
    }
    assert_eq!(tree(&place.path("b")), before, "restore only reads the backup");
    let said = place.run(&["restore", "nowhere", "--data-dir", "x"]).refused(1);
    assert!(said.contains("holds no backup"), "{said}");
    fs::create_dir(place.path("somebody")).expect("a directory");
    place.write("somebody/notes.txt", "");
    let said = place.run(&["restore", "b", "--data-dir", "somebody"]).refused(1);
    assert!(said.contains("is not empty: it holds \"notes.txt\""), "{said}");
}

#[test]
fn damaged_backup_is_not_restored() {
    let place = Workdir::filled();
    place.run(&["backup", "b", "--data-dir", "data"]).ok();
    let mut random = seeded_random();
    for n in 0..12 {
        let segments = place.segments("b");
        let segment = &segments[random.random_range(0..segments.len())];
        let whole = fs::read(segment).expect("a segment");
        let offset = random.random_range(0..written_len(&whole));
        flip(segment, offset, 1 << random.random_range(0..8));
        let to = format!("r-{n}");
        let said = place.run(&["restore", "b", "--data-dir", &to]).refused(1);
        assert!(said.contains("is damaged in"), "{said}");
        assert!(!place.path(&to).exists());
        fs::write(segment, whole).expect("a segment");
    }
}

/// A backup has its own groups and segments, so the locations in the original's history would point
/// to wrong records.
#[test]
fn replacing_the_log_with_its_backup_rebuilds_the_history() {
    let place = Workdir::new();
    let program = place.serve("data");
    fill(program.client);
    let log = program.client.lines("/log");
    let event = "/audit/w.0";
    program.client.put("w.0", "1");
    let history = program.client.lines(event);
    program.client.wait_for_history();
    // The second start and stop bring the stored history to the end of the log.
    program.stop();
    place.serve("data").stop();
    place.run(&["backup", "backup", "--data-dir", "data"]).ok();
    let (data, backup) = (place.path("data/journal"), place.path("backup/journal"));
    fs::remove_dir_all(&data).expect("it is there");
    fs::rename(backup, &data).expect("it can be moved");
    let program = place.serve("data");
    wait_until("the history is found invalid", || program.log().contains("are at other locations"));
    assert_eq!(program.client.lines(event), history);
    assert_eq!(program.client.lines("/log")[..log.len()], log);
    program.stop();
}

/// Regression: an unfinished copy given as the source was taken for its own destination and renamed
/// as if complete, and the source was gone.
#[test]
fn unfinished_copy_is_refused_as_a_source() {
    let place = Workdir::filled();
    place.run(&["backup", "d.partial.whole", "--data-dir", "data"]).ok();
    copy_all(&place.path("d.partial.whole"), &place.path("d.partial"));
    // The end of the log is missing, as in an interrupted copy.
    fs::remove_file(place.segments("d.partial").pop().expect("a segment")).expect("a file");
    symlink(place.path("d.partial"), place.path("link")).expect("a link");
    let before = tree(&place.path("d.partial"));
    for from in ["d.partial", "link", "./d.partial/"] {
        for to in ["d", "e"] {
            let said = place.run(&["restore", from, "--data-dir", to]).refused(1);
            assert!(said.contains("is an unfinished copy"), "{from} {to}: {said}");
        }
    }
    for data in ["d.partial", "link"] {
        let said = place.run(&["backup", "d", "--data-dir", data]).refused(1);
        assert!(said.contains("is where the directory that is copied lies"), "{data}: {said}");
    }
    for args in [
        ["backup", "x.partial", "--data-dir", "data"],
        ["restore", "d.partial.whole", "--data-dir", "x.partial"],
    ] {
        let said = place.run(&args).refused(1);
        assert!(said.contains("has the name of an unfinished copy"), "{said}");
    }
    assert!(tree(&place.path("d.partial")) == before);
    assert!(!place.path("d").exists() && !place.path("e").exists());
    // The complete copy can be restored.
    fs::remove_dir_all(place.path("d.partial")).expect("a directory");
    place.run(&["restore", "d.partial.whole", "--data-dir", "d"]).ok();
}

/// Regression: the advice was to replace the damaged segment by that of a backup, which a start
/// refused.
#[test]
fn suggested_repair_of_damage_works() {
    let place = Workdir::filled();
    place.run(&["backup", "b", "--data-dir", "data"]).ok();
    let whole = place.exported("data");
    let segment = place.segments("data").swap_remove(1);
    let good = fs::read(&segment).expect("a segment");
    flip(&segment, 200, 4);
    for args in [["verify", "--data-dir", "data"], ["inspect", "--data-dir", "data"]] {
        let said = place.run(&args);
        let said = format!("{}{}", said.stdout, said.stderr);
        let words = "create a new data directory from a complete backup with broker restore";
        assert!(said.contains(words), "{said}");
        assert!(!said.contains("restore the file"), "{said}");
    }
    let mut start = small(&place.path(""));
    start.env("BROKER_DATA_DIR", place.path("data"));
    let refusal = Program::try_start(start).err().expect("it is damaged");
    assert!(refusal.stderr.contains("with broker restore"), "{}", refusal.stderr);
    place.run(&["restore", "b", "--data-dir", "new"]).ok();
    assert!(place.exported("new") == whole);

    fs::write(&segment, good).expect("a segment");
    place.write("data/identity", "somebody's");
    let said = place.run(&["verify", "--data-dir", "data"]).refused(1);
    assert!(said.contains("copy the file of the same name from any backup"), "{said}");
    fs::copy(place.path("b/identity"), place.path("data/identity")).expect("a file");
    place.run(&["verify", "--data-dir", "data"]).ok();
}

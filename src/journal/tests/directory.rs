//! Whose directory it is, and who may use it.

use std::fs;

use crate::journal::tests::*;

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_missing_directory_is_made_with_those_above_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    let made = DataDir::open(&path).unwrap();
    assert_eq!(names(&path), ["identity", "journal", "lock"]);
    assert_eq!(made.path(), path);
    let log = made.log_id();
    drop(made);
    assert_eq!(DataDir::open(&path).unwrap().log_id(), log);
}

#[test]
fn a_second_open_is_refused_with_the_process_that_holds_the_lock() {
    let site = TestDirectory::new();
    let first = site.data_dir().unwrap();
    let refused = site.data_dir().unwrap_err();
    let pid = std::process::id();
    assert!(matches!(refused, DirError::Locked { pid: Some(found), .. } if found == pid));
    assert!(refused.to_string().contains(&format!("in use by the process with id {pid}; stop it")));
    drop(first);
    site.data_dir().unwrap();
}

#[test]
fn an_open_journal_keeps_the_directory_locked_and_is_the_only_one() {
    let site = TestDirectory::new();
    let dir = site.data_dir().unwrap();
    let open = || Journal::open(&dir, JournalOptions::default(), 0, &mut |_, _| Ok(()));
    let journal = open().unwrap().journal;
    assert!(matches!(open(), Err(JournalError::InUse { .. })));
    journal.close().unwrap();
    let journal = open().unwrap().journal;
    drop(dir);
    assert!(matches!(site.data_dir(), Err(DirError::Locked { .. })));
    drop(journal);
    site.data_dir().unwrap();
}

#[test]
fn a_foreign_directory_is_refused_and_not_touched() {
    for (entry, content) in [
        ("notes.txt", "mine"),
        ("lock", "somebody else's words"),
        ("journal/2026-11-21.md", "dear diary"),
        ("journal/00000000000000000001.seg", &"not zeros".repeat(100)),
        ("journal/00000000000000000007.seg", ""),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(entry);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let before = (names(dir.path()), names(path.parent().unwrap()));
        let refused = DataDir::open(dir.path()).unwrap_err();
        assert!(matches!(&refused, DirError::Foreign { entry: found, .. } if found == entry));
        assert!(refused.to_string().contains(&format!("it holds {entry:?}")), "{refused}");
        assert_eq!(before, (names(dir.path()), names(path.parent().unwrap())));
        assert_eq!(fs::read_to_string(path).unwrap(), content);
    }
}

#[test]
fn a_journal_that_lost_its_identity_is_not_taken_for_a_new_one() {
    let site = TestDirectory::with_groups(&[&[10]]);
    fs::remove_file(site.path().join("identity")).unwrap();
    let before = site.contents();
    assert!(matches!(site.data_dir(), Err(DirError::Foreign { .. })));
    assert_eq!(site.contents(), before);
}

/// The crash comes between any two steps of the making.
#[test]
fn a_making_that_was_interrupted_is_completed() {
    for leftovers in [
        &[][..],
        &["lock"],
        &["lost+found/", "lock"],
        &["lock", "journal/"],
        &["lock", "journal/own.tmp"],
        &["lock", "journal/00000000000000000001.seg"],
        &["lock", "journal/00000000000000000001.seg", "journal/mark"],
        &["lock", "journal/00000000000000000001.seg", "journal/mark", "identity.new"],
    ] {
        let site = TestDirectory::new();
        for name in leftovers {
            let path = site.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if name.ends_with('/') {
                fs::create_dir_all(path).unwrap();
            } else if name.ends_with(".seg") {
                // As another directory has it: it gets its name when its header is whole.
                let other = TestDirectory::with_groups(&[]);
                let segment = fs::read(other.path().join(name)).unwrap();
                let without_groups = [&segment[..104], &vec![0; segment.len() - 104]].concat();
                fs::write(path, without_groups).unwrap();
            } else {
                fs::write(path, "").unwrap();
            }
        }
        let found = site.open();
        assert_eq!(found.report.records_read, 0, "{leftovers:?}");
        assert_eq!(site.names(), ["00000000000000000001.seg", "mark"]);
        assert!(!site.path().join("identity.new").exists());
    }
}

#[test]
fn a_damaged_or_newer_identity_is_refused_before_the_lock_is_taken() {
    let site = TestDirectory::with_groups(&[&[10]]);
    let identity = site.path().join("identity");
    let whole = fs::read_to_string(&identity).unwrap();
    fs::remove_file(site.path().join("lock")).unwrap();
    for damaged in ["", &whole[..40], &whole.replace("log 0", "log 1")] {
        fs::write(&identity, damaged).unwrap();
        let refused = site.data_dir().unwrap_err();
        assert!(matches!(refused, DirError::Identity { .. }), "{refused}");
    }
    let body = whole.split_once("crc32c").unwrap().0.replace("format 0", "format 1");
    let crc = crc32c::crc32c(body.as_bytes());
    fs::write(&identity, format!("{body}crc32c {crc:08x}\n")).unwrap();
    let refused = site.data_dir().unwrap_err();
    assert!(matches!(refused, DirError::Newer { format: 1, .. }), "{refused}");
    assert_eq!(names(site.path()), ["identity", "journal"], "no lock was made");
}

#[test]
fn a_path_that_is_no_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "mine").unwrap();
    for path in [file.clone(), file.join("below")] {
        let refused = DataDir::open(&path).unwrap_err();
        assert!(matches!(refused, DirError::NotDirectory { .. }), "{refused}");
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "mine");
}

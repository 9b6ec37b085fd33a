//! Creating, checking and locking a data directory.

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
fn missing_directory_is_created_with_its_parents() {
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
fn second_open_is_refused_with_the_pid_of_the_lock_holder() {
    let test_dir = TestDirectory::new();
    let first = test_dir.data_dir().unwrap();
    let refused = test_dir.data_dir().unwrap_err();
    let pid = std::process::id();
    assert!(matches!(refused, DirError::Locked { pid: Some(found), .. } if found == pid));
    assert!(refused.to_string().contains(&format!("in use by the process with id {pid}; stop it")));
    drop(first);
    test_dir.data_dir().unwrap();
}

#[test]
fn open_journal_is_exclusive_and_keeps_the_directory_locked() {
    let test_dir = TestDirectory::new();
    let dir = test_dir.data_dir().unwrap();
    let open = || Journal::open(&dir, JournalOptions::default(), 0, &mut |_, _| Ok(()));
    let journal = open().unwrap().journal;
    assert!(matches!(open(), Err(JournalError::InUse { .. })));
    journal.close().unwrap();
    let journal = open().unwrap().journal;
    drop(dir);
    assert!(matches!(test_dir.data_dir(), Err(DirError::Locked { .. })));
    drop(journal);
    test_dir.data_dir().unwrap();
}

#[test]
fn foreign_directory_is_refused_unchanged() {
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
fn journal_without_its_identity_file_is_not_treated_as_new() {
    let test_dir = TestDirectory::with_groups(&[&[10]]);
    fs::remove_file(test_dir.path().join("identity")).unwrap();
    let before = test_dir.contents();
    assert!(matches!(test_dir.data_dir(), Err(DirError::Foreign { .. })));
    assert_eq!(test_dir.contents(), before);
}

/// The crash happens between any two steps of the creation.
#[test]
fn interrupted_creation_is_completed() {
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
        let test_dir = TestDirectory::new();
        for name in leftovers {
            let path = test_dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if name.ends_with('/') {
                fs::create_dir_all(path).unwrap();
            } else if path.extension().is_some_and(|suffix| suffix == "seg") {
                // A segment is named once its header is complete, so it has one.
                let other = TestDirectory::with_groups(&[]);
                let segment = fs::read(other.path().join(name)).unwrap();
                let without_groups = [&segment[..104], &vec![0; segment.len() - 104]].concat();
                fs::write(path, without_groups).unwrap();
            } else {
                fs::write(path, "").unwrap();
            }
        }
        let opened = test_dir.open();
        assert_eq!(opened.report.records_read, 0, "{leftovers:?}");
        assert_eq!(test_dir.names(), ["00000000000000000001.seg", "mark"]);
        assert!(!test_dir.path().join("identity.new").exists());
    }
}

#[test]
fn damaged_or_newer_identity_is_refused_before_the_lock_is_taken() {
    let test_dir = TestDirectory::with_groups(&[&[10]]);
    let identity = test_dir.path().join("identity");
    let whole = fs::read_to_string(&identity).unwrap();
    fs::remove_file(test_dir.path().join("lock")).unwrap();
    for damaged in ["", &whole[..40], &whole.replace("log 0", "log 1")] {
        fs::write(&identity, damaged).unwrap();
        let refused = test_dir.data_dir().unwrap_err();
        assert!(matches!(refused, DirError::Identity { .. }), "{refused}");
    }
    let body = whole.split_once("crc32c").unwrap().0.replace("format 0", "format 1");
    let crc = crc32c::crc32c(body.as_bytes());
    fs::write(&identity, format!("{body}crc32c {crc:08x}\n")).unwrap();
    let refused = test_dir.data_dir().unwrap_err();
    assert!(matches!(refused, DirError::Newer { format: 1, .. }), "{refused}");
    assert_eq!(names(test_dir.path()), ["identity", "journal"], "no lock file was created");
}

#[test]
fn path_that_is_not_a_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "mine").unwrap();
    for path in [file.clone(), file.join("below")] {
        let refused = DataDir::open(&path).unwrap_err();
        assert!(matches!(refused, DirError::NotDirectory { .. }), "{refused}");
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "mine");
}

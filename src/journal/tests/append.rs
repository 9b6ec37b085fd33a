//! Appending: records read back, segment sizes, failures.

use proptest::prelude::*;

use crate::journal::disk::faults::InjectedFault;
use crate::journal::tests::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn reopened_journal_returns_every_record_in_order(
        sessions in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(0usize..1500, 1..6), 0..6), 1..4),
        closed: bool,
    ) {
        let test_dir = TestDirectory::new();
        let mut all: Vec<Record> = Vec::new();
        for groups in sessions {
            let opened = test_dir.open();
            prop_assert_eq!(&opened.records, &all);
            prop_assert_eq!(opened.report.torn, None);
            let mut journal = opened.journal;
            for lengths in groups {
                let group = group(journal.head(), &lengths);
                journal.append(&group).unwrap();
                all.extend(flatten(&[group]));
                prop_assert_eq!(journal.head(), all.len() as u64);
                prop_assert_eq!(journal.reader().durable(), journal.head());
            }
            if closed {
                journal.close().unwrap();
            }
        }
        prop_assert_eq!(&test_dir.open().records, &all);
        let followed = test_dir.open().journal.reader().follow(0).next(usize::MAX).unwrap();
        prop_assert_eq!(followed, all);
    }
}

#[test]
fn segments_are_named_by_first_seq_and_double_in_size_up_to_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::open_sized(dir.path(), 1024).unwrap();
    let options = JournalOptions { segment_bytes_max: 4096 };
    let mut journal = Journal::open(&data, options, 0, &mut |_, _| Ok(())).unwrap().journal;
    for seq in 1..=20 {
        journal.append(&[record(seq, 400)]).unwrap();
    }
    journal.close().unwrap();
    let test_dir = TestDirectory { dir };
    drop(data);
    let sizes: Vec<(String, u64)> = test_dir
        .segments()
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, path.metadata().unwrap().len())
        })
        .collect();
    let name = |seq: u64, bytes: u64| (format!("{seq:020}.seg"), bytes);
    assert_eq!(
        sizes,
        [name(1, 1024), name(2, 2048), name(5, 4096), name(11, 4096), name(17, 4096)]
    );
    assert_eq!(test_dir.open().records.len(), 20);
}

#[test]
fn group_larger_than_a_segment_gets_a_segment_of_its_own_size() {
    let test_dir = TestDirectory::with_groups(&[&[10], &[9000, 9000], &[10]]);
    let sizes: Vec<u64> =
        test_dir.segments().iter().map(|path| path.metadata().unwrap().len()).collect();
    assert_eq!(sizes.len(), 3);
    assert_eq!((sizes[0], sizes[2]), (SEGMENT_BYTES, SEGMENT_BYTES));
    assert!((18_000..19_000).contains(&sizes[1]), "{sizes:?}");
    assert_eq!(test_dir.open().records.len(), 4);
}

/// The replacement has the name of the empty segment. A regression: the rename lost the first
/// segment's number.
#[test]
fn large_group_replaces_a_segment_that_is_still_empty() {
    let test_dir = TestDirectory::with_groups(&[&[9000], &[10]]);
    assert_eq!(test_dir.segments().len(), 2);
    let opened = test_dir.open();
    assert_eq!(opened.records.len(), 2);
    assert_eq!(opened.journal.reader().follow(0).next(usize::MAX).unwrap().len(), 2);
}

#[test]
fn full_disk_stores_nothing_and_appends_succeed_once_space_returns() {
    let test_dir = TestDirectory::new();
    let mut journal = test_dir.open().journal;
    journal.disk.faults.set(InjectedFault::Space);
    let mut appended = 0;
    let error = loop {
        match journal.append(&[record(appended + 1, 500)]) {
            Ok(()) => appended += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::NoSpace(_)), "{error}");
    assert_eq!(journal.head(), appended);
    assert_eq!(test_dir.names(), ["00000000000000000001.seg", "mark"], "no partial file is left");
    assert!(matches!(journal.append(&[record(appended + 1, 500)]), Err(AppendError::NoSpace(_))));

    journal.disk.faults.set(InjectedFault::None);
    journal.append(&[record(appended + 1, 500)]).unwrap();
    assert_eq!(journal.head(), appended + 1);
    drop(journal);
    assert_eq!(test_dir.open().records.len() as u64, appended + 1);
}

/// A failed write stored nothing, a failed sync stored the group: both are final, and only the next
/// open shows which it was.
#[test]
fn failed_write_or_sync_is_final_until_the_journal_is_reopened() {
    for (fault, stored) in [(InjectedFault::Write, 1), (InjectedFault::Sync, 2)] {
        let test_dir = TestDirectory::new();
        let mut journal = test_dir.open().journal;
        let reader = journal.reader();
        journal.append(&[record(1, 10)]).unwrap();
        journal.disk.faults.set(fault);
        assert!(matches!(journal.append(&[record(2, 10)]), Err(AppendError::Final(_))));
        journal.disk.faults.set(InjectedFault::None);
        assert!(matches!(journal.append(&[record(2, 10)]), Err(AppendError::Final(_))));
        assert_eq!((journal.head(), reader.durable()), (1, 1));
        assert_eq!(reader.follow(0).next(usize::MAX).unwrap().len(), 1);
        journal.close().unwrap();

        let opened = test_dir.open();
        assert_eq!(opened.records.len(), stored, "{fault:?}");
        // Bytes that may not have been synced are synced before they are served.
        assert_eq!(opened.report.rewritten_bytes > 0, stored == 2);
    }
}

#[test]
fn failure_while_starting_a_segment_is_final_and_stores_nothing() {
    let test_dir = TestDirectory::new();
    let mut journal = test_dir.open().journal;
    journal.append(&[record(1, 3000)]).unwrap();
    journal.disk.faults.set(InjectedFault::Write);
    assert!(matches!(journal.append(&[record(2, 3000)]), Err(AppendError::Final(_))));
    drop(journal);
    let opened = test_dir.open();
    assert_eq!(opened.records.len(), 1);
    assert_eq!(test_dir.segments().len(), 1);
}

#[test]
fn group_that_does_not_continue_the_log_panics() {
    let test_dir = TestDirectory::with_groups(&[&[10]]);
    for wrong in
        [vec![], vec![record(1, 10)], vec![record(3, 10)], vec![record(2, 1), record(4, 1)]]
    {
        let mut journal = test_dir.open().journal;
        let append = std::panic::AssertUnwindSafe(|| journal.append(&wrong));
        assert!(std::panic::catch_unwind(append).is_err());
    }
    assert_eq!(test_dir.open().records.len(), 1);
}

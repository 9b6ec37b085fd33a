//! Appending: what comes back, how segments are chosen, what a failure does.

use proptest::prelude::*;

use crate::journal::disk::faults::InjectedFault;
use crate::journal::tests::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_record_comes_back_in_order_whenever_the_journal_is_opened_again(
        lives in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(0usize..1500, 1..6), 0..6), 1..4),
        closed: bool,
    ) {
        let site = TestDirectory::new();
        let mut all: Vec<Record> = Vec::new();
        for groups in lives {
            let found = site.open();
            prop_assert_eq!(&found.records, &all);
            prop_assert_eq!(found.report.torn, None);
            let mut journal = found.journal;
            for lengths in groups {
                let group = group(journal.head(), &lengths);
                journal.append(&group).unwrap();
                all.extend(plain(&[group]));
                prop_assert_eq!(journal.head(), all.len() as u64);
                prop_assert_eq!(journal.reader().durable(), journal.head());
            }
            if closed {
                journal.close().unwrap();
            }
        }
        prop_assert_eq!(&site.open().records, &all);
        let followed = site.open().journal.reader().follow(0).next(usize::MAX).unwrap();
        prop_assert_eq!(followed, all);
    }
}

#[test]
fn segments_are_named_by_their_first_seq_and_double_up_to_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::open_sized(dir.path(), 1024).unwrap();
    let options = JournalOptions { segment_bytes_max: 4096 };
    let mut journal = Journal::open(&data, options, 0, &mut |_, _| Ok(())).unwrap().journal;
    for seq in 1..=20 {
        journal.append(&[record(seq, 400)]).unwrap();
    }
    journal.close().unwrap();
    let site = TestDirectory { dir };
    drop(data);
    let sizes: Vec<(String, u64)> = site
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
    assert_eq!(site.open().records.len(), 20);
}

#[test]
fn a_group_larger_than_a_segment_gets_a_segment_of_its_own_size() {
    let site = TestDirectory::with_groups(&[&[10], &[9000, 9000], &[10]]);
    let sizes: Vec<u64> =
        site.segments().iter().map(|path| path.metadata().unwrap().len()).collect();
    assert_eq!(sizes.len(), 3);
    assert_eq!((sizes[0], sizes[2]), (SEGMENT_BYTES, SEGMENT_BYTES));
    assert!((18_000..19_000).contains(&sizes[1]), "{sizes:?}");
    assert_eq!(site.open().records.len(), 4);
}

/// It has the name that the larger one gets; once, the rename lost the first segment's number.
#[test]
fn a_large_group_takes_the_place_of_a_segment_that_is_still_empty() {
    let site = TestDirectory::with_groups(&[&[9000], &[10]]);
    assert_eq!(site.segments().len(), 2);
    let found = site.open();
    assert_eq!(found.records.len(), 2);
    assert_eq!(found.journal.reader().follow(0).next(usize::MAX).unwrap().len(), 2);
}

#[test]
fn without_space_nothing_is_stored_and_appends_succeed_when_space_returns() {
    let site = TestDirectory::new();
    let mut journal = site.open().journal;
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
    assert_eq!(site.names(), ["00000000000000000001.seg", "mark"], "no partial file is left");
    assert!(matches!(journal.append(&[record(appended + 1, 500)]), Err(AppendError::NoSpace(_))));

    journal.disk.faults.set(InjectedFault::None);
    journal.append(&[record(appended + 1, 500)]).unwrap();
    assert_eq!(journal.head(), appended + 1);
    drop(journal);
    assert_eq!(site.open().records.len() as u64, appended + 1);
}

/// A write fails before its bytes are stored, a sync fails after them: both are final, and the
/// next open tells which it was.
#[test]
fn a_failed_write_or_sync_is_final_until_the_journal_is_opened_again() {
    for (fault, stored) in [(InjectedFault::Write, 1), (InjectedFault::Sync, 2)] {
        let site = TestDirectory::new();
        let mut journal = site.open().journal;
        let reader = journal.reader();
        journal.append(&[record(1, 10)]).unwrap();
        journal.disk.faults.set(fault);
        assert!(matches!(journal.append(&[record(2, 10)]), Err(AppendError::Final(_))));
        journal.disk.faults.set(InjectedFault::None);
        assert!(matches!(journal.append(&[record(2, 10)]), Err(AppendError::Final(_))));
        assert_eq!((journal.head(), reader.durable()), (1, 1));
        assert_eq!(reader.follow(0).next(usize::MAX).unwrap().len(), 1);
        journal.close().unwrap();

        let found = site.open();
        assert_eq!(found.records.len(), stored, "{fault:?}");
        // What was written and not known to be synced was synced before it is served.
        assert_eq!(found.report.rewritten_bytes > 0, stored == 2);
    }
}

#[test]
fn a_failure_while_a_segment_is_begun_is_final_and_stores_nothing() {
    let site = TestDirectory::new();
    let mut journal = site.open().journal;
    journal.append(&[record(1, 3000)]).unwrap();
    journal.disk.faults.set(InjectedFault::Write);
    assert!(matches!(journal.append(&[record(2, 3000)]), Err(AppendError::Final(_))));
    drop(journal);
    let found = site.open();
    assert_eq!(found.records.len(), 1);
    assert_eq!(site.segments().len(), 1);
}

#[test]
fn a_group_that_does_not_continue_the_log_is_a_mistake_of_the_caller() {
    let site = TestDirectory::with_groups(&[&[10]]);
    for wrong in
        [vec![], vec![record(1, 10)], vec![record(3, 10)], vec![record(2, 1), record(4, 1)]]
    {
        let mut journal = site.open().journal;
        let append = std::panic::AssertUnwindSafe(|| journal.append(&wrong));
        assert!(std::panic::catch_unwind(append).is_err());
    }
    assert_eq!(site.open().records.len(), 1);
}

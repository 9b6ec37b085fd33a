//! Readers while the writer appends.

use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::journal::tests::*;

/// Longer than any test may take: a wait that times out has failed.
const LONG: Duration = Duration::from_secs(60);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn follower_returns_everything_after_its_start_with_any_byte_limit(
        groups in prop::collection::vec(prop::collection::vec(0usize..900, 1..5), 1..12),
        after in 0u64..40, bytes_max in 0usize..5000,
    ) {
        let test_dir = TestDirectory::new();
        let mut journal = test_dir.open().journal;
        let mut all = Vec::new();
        for lengths in groups {
            let group = group(journal.head(), &lengths);
            journal.append(&group).unwrap();
            all.extend(flatten(&[group]));
        }
        let mut follower = journal.reader().follow(after);
        let mut seen = Vec::new();
        loop {
            let records = follower.next(bytes_max).unwrap();
            let Some(last) = records.last() else { break };
            prop_assert_eq!(follower.position(), last.seq());
            // Only the last record may exceed the limit.
            let before: usize = records[..records.len() - 1].iter().map(|r| r.data().len()).sum();
            prop_assert!(before <= bytes_max);
            seen.extend(records);
        }
        all.retain(|record| record.seq() > after);
        prop_assert_eq!(seen, all);
    }
}

#[test]
fn concurrent_follower_sees_every_record_once_and_in_order() {
    const RECORDS: u64 = 600;
    let test_dir = TestDirectory::new();
    let mut journal = test_dir.open().journal;
    let reader = journal.reader();
    thread::scope(|scope| {
        let followers: Vec<_> = (0..3)
            .map(|n| {
                let reader = reader.clone();
                scope.spawn(move || {
                    let mut follower = reader.follow(0);
                    while follower.position() < RECORDS {
                        let durable = reader.wait_past(follower.position(), LONG);
                        assert!(durable > follower.position(), "the wait took too long");
                        let before = follower.position();
                        let records = follower.next(200 * n).unwrap();
                        assert!(!records.is_empty());
                        for (seq, found) in (before + 1..).zip(records) {
                            assert_eq!(found, *record(seq, seq as usize % 300));
                        }
                    }
                    assert!(follower.next(1).unwrap().is_empty());
                })
            })
            .collect();
        while journal.head() < RECORDS {
            let head = journal.head();
            let lengths: Vec<usize> =
                (head + 1..=head + 1 + head % 3).map(|seq| seq as usize % 300).collect();
            journal.append(&group(head, &lengths)).unwrap();
        }
        for follower in followers {
            follower.join().unwrap();
        }
    });
}

#[test]
fn follower_at_the_head_continues_into_new_segments() {
    let test_dir = TestDirectory::with_groups(&[&[10]]);
    let mut journal = test_dir.open().journal;
    let mut follower = journal.reader().follow(1);
    let mut ahead = journal.reader().follow(3);
    for seq in 2..=9 {
        assert!(follower.next(usize::MAX).unwrap().is_empty());
        journal.append(&[record(seq, 2500)]).unwrap();
        assert_eq!(follower.next(usize::MAX).unwrap(), [Record::clone(&record(seq, 2500))]);
        assert_eq!(ahead.next(usize::MAX).unwrap().len(), usize::from(seq > 3));
    }
}

#[test]
fn damage_after_the_open_is_detected_and_the_position_stays_before_it() {
    let test_dir = TestDirectory::with_groups(&[&[100], &[100], &[100]]);
    let journal = test_dir.open().journal;
    let mut follower = journal.reader().follow(0);
    assert_eq!(follower.next(1).unwrap().len(), 1);
    let mut fresh = journal.reader().follow(0);
    let segment = &test_dir.segments()[0];
    let mut bytes = std::fs::read(segment).unwrap();
    let third = bytes.len() - bytes.iter().rev().position(|byte| *byte != 0).unwrap() - 20;
    bytes[third] ^= 1;
    std::fs::write(segment, bytes).unwrap();
    assert_eq!(fresh.next(usize::MAX).unwrap().len(), 2, "intact records are not lost");
    for _ in 0..2 {
        assert_eq!(fresh.position(), 2);
        let error = match fresh.next(usize::MAX) {
            Ok(records) => panic!("{} records were read", records.len()),
            Err(error) => error,
        };
        let JournalError::Damage { file, last_good_seq, what, .. } = error else {
            panic!("not damage: {error}");
        };
        assert_eq!((&file, last_good_seq), (segment, 2));
        assert_eq!(what, "the checksum of the data of seq 3 differs");
    }
}

#[test]
fn wait_ends_with_the_append_that_passes_its_seq() {
    let test_dir = TestDirectory::new();
    let mut journal = test_dir.open().journal;
    let reader = journal.reader();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| reader.wait_past(2, LONG));
        for seq in 1..=3 {
            journal.append(&[record(seq, 1)]).unwrap();
        }
        assert_eq!(waiting.join().unwrap(), 3);
    });
    assert_eq!(reader.wait_past(2, LONG), 3);
}

#[test]
fn wait_ends_at_its_timeout() {
    let test_dir = TestDirectory::new();
    let reader = test_dir.open().journal.reader();
    let timeout = Duration::from_millis(20);
    let begun = Instant::now();
    assert_eq!(reader.wait_past(0, timeout), 0);
    assert!(begun.elapsed() >= timeout);
}

#[test]
fn wake_all_ends_one_wait_of_each_reader_even_a_later_one() {
    let test_dir = TestDirectory::new();
    let journal = test_dir.open().journal;
    let (reader, other) = (journal.reader(), journal.reader());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| other.wait_past(0, LONG));
        reader.wake_all();
        assert_eq!(waiting.join().unwrap(), 0);
    });
    let begun = Instant::now();
    assert_eq!(reader.wait_past(0, LONG), 0);
    assert!(begun.elapsed() < LONG);
    let timeout = Duration::from_millis(5);
    reader.wait_past(0, timeout);
    assert!(begun.elapsed() >= timeout, "wake_all ends only one wait");
}

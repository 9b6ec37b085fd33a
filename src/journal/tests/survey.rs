//! Surveys, also while a writer appends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::journal::tests::*;

/// The records and the report of a survey.
fn surveyed(survey: &Survey) -> Result<(Vec<Record>, SurveyReport), JournalError> {
    let mut records = Vec::new();
    let read = survey.read(|taken| {
        records.extend(taken.records.iter().map(|record| Record::clone(record)));
        assert_eq!(taken.records.len(), taken.chains.len());
        Ok::<_, JournalError>(())
    });
    read.map(|surveyed| (records, surveyed))
}

/// The segments are small, so that the writer starts and replaces segments all the time.
#[test]
fn concurrent_survey_returns_everything_durable_before_it_without_damage() {
    const GROUPS: usize = 600;
    let test_dir = TestDirectory::new();
    let mut journal = test_dir.open().journal;
    let (reader, done) = (journal.reader(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..GROUPS {
                let large = if n % 11 == 0 { 5_000 } else { n * 7 % 900 };
                journal.append(&group(journal.head(), &[large, 3])).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        let mut surveys = 0;
        loop {
            let last = done.load(Ordering::Acquire);
            let before = reader.durable();
            let survey = Survey::concurrent(test_dir.path()).unwrap();
            assert_eq!(survey.used_by().unwrap().pid, Some(std::process::id()));
            let (records, report) = surveyed(&survey).unwrap();
            assert!(report.head >= before, "{} of {before}", report.head);
            assert_eq!(records.len() as u64, report.head);
            assert!(records.iter().zip(1..).all(|(record, seq)| record.seq() == seq));
            surveys += 1;
            if last {
                assert_eq!(report.head, 2 * GROUPS as u64);
                break;
            }
        }
        println!("{surveys} surveys");
    });
}

/// Reading a file is not atomic: the part with an earlier group may be read before it is written.
#[test]
fn group_written_while_the_file_is_read_is_not_damage() {
    let test_dir = TestDirectory::with_groups(&[&[10], &[20], &[30]]);
    let mut ranges = Vec::new();
    let survey = Survey::concurrent(test_dir.path()).unwrap();
    let read = survey.read(|taken| {
        ranges.push((taken.offset as usize, (taken.offset + taken.bytes) as usize));
        Ok::<_, JournalError>(())
    });
    assert_eq!(read.unwrap().head, 3);
    // All except the last: no later group shows that it was written.
    for range in ranges.into_iter().take(2) {
        survey.hidden_bytes.set(Some(range));
        assert_eq!(surveyed(&survey).unwrap().1.head, 3, "{range:?}");
    }
}

#[test]
fn survey_and_its_reader_return_the_records_of_an_open() {
    let test_dir = TestDirectory::with_groups(&[&[10, 900], &[3_000], &[5_000], &[1]]);
    let before = test_dir.contents();
    let survey = Survey::locked(test_dir.path()).unwrap();
    let (records, report) = surveyed(&survey).unwrap();
    assert_eq!(report.reader.follow(0).next(usize::MAX).unwrap(), records);
    assert_eq!((report.groups, report.head, report.tail), (4, 5, None));
    assert_eq!(test_dir.contents(), before);
    assert!(matches!(test_dir.data_dir(), Err(DirError::Locked { .. })), "no writer may start");
    drop(survey);
    assert_eq!(test_dir.open().records, records);
}

#[test]
fn survey_reports_the_damage_of_an_open_and_names_the_record() {
    let test_dir = TestDirectory::with_groups(&[&[10, 900], &[3_000], &[5_000, 2], &[1]]);
    for (i, segment) in test_dir.segments().iter().enumerate() {
        let whole = std::fs::read(segment).unwrap();
        for at in (0..whole.len()).step_by(97).filter(|at| whole[*at] != 0) {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            std::fs::write(segment, bytes).unwrap();
            let survey = Survey::locked(test_dir.path()).unwrap();
            let error = surveyed(&survey).unwrap_err();
            let first_bad = survey.first_bad_record(&error).unwrap();
            drop(survey);
            let refused = test_dir.refused(0);
            assert!(error.to_string().contains(&refused.what), "{i} {at}: {error}");
            assert!(first_bad.seq > refused.last_good_seq, "{i} {at}: {first_bad:?}");
            assert!(first_bad.seq <= 6, "{i} {at}: {first_bad:?}");
            if let Some((event, version, to)) = first_bad.names {
                let seq = first_bad.seq;
                assert_eq!((event, version), (format!("profile.{}", seq % 7), seq), "{at}");
                assert_eq!(to.is_some(), seq.is_multiple_of(3), "{at}");
            }
        }
        std::fs::write(segment, whole).unwrap();
    }
}

#[test]
fn directory_created_for_a_log_is_refused_for_another() {
    let test_dir = TestDirectory::new();
    let log = Uuid::now_v7();
    assert!(matches!(Survey::concurrent(test_dir.path()), Err(DirError::NoLog { .. })));
    let dir = DataDir::open_for(test_dir.path(), log).unwrap();
    assert_eq!(dir.log_id(), log);
    drop(dir);
    assert_eq!(DataDir::open_for(test_dir.path(), log).unwrap().log_id(), log);
    let other = DataDir::open_for(test_dir.path(), Uuid::now_v7());
    assert!(matches!(other, Err(DirError::OtherLog { found, .. }) if found == log));
}

//! Reading beside the writer, and without changing anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::journal::tests::*;

/// What a survey hands out.
fn surveyed(survey: &Survey) -> Result<(Vec<Record>, SurveyReport), JournalError> {
    let mut records = Vec::new();
    let read = survey.read(|taken| {
        records.extend(taken.records.iter().map(|record| Record::clone(record)));
        assert_eq!(taken.records.len(), taken.chains.len());
        Ok::<_, JournalError>(())
    });
    read.map(|surveyed| (records, surveyed))
}

/// Small segments, so that the writer begins and replaces one all the time.
#[test]
fn a_survey_beside_the_writer_holds_what_was_durable_before_it_and_meets_no_damage() {
    const GROUPS: usize = 600;
    let site = TestDirectory::new();
    let mut journal = site.open().journal;
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
            let survey = Survey::beside(site.path()).unwrap();
            assert_eq!(survey.used_by().unwrap().pid, Some(std::process::id()));
            let (records, found) = surveyed(&survey).unwrap();
            assert!(found.head >= before, "{} of {before}", found.head);
            assert_eq!(records.len() as u64, found.head);
            assert!(records.iter().zip(1..).all(|(record, seq)| record.seq() == seq));
            surveys += 1;
            if last {
                assert_eq!(found.head, 2 * GROUPS as u64);
                break;
            }
        }
        println!("{surveys} surveys");
    });
}

/// A file is not read in one moment: what was written first may be what was read too early.
#[test]
fn a_group_that_was_written_while_the_file_was_read_is_no_damage() {
    let site = TestDirectory::with_groups(&[&[10], &[20], &[30]]);
    let mut places = Vec::new();
    let survey = Survey::beside(site.path()).unwrap();
    let read = survey.read(|taken| {
        places.push((taken.offset as usize, (taken.offset + taken.bytes) as usize));
        Ok::<_, JournalError>(())
    });
    assert_eq!(read.unwrap().head, 3);
    // All but the last, which no later one shows to have been written.
    for place in places.into_iter().take(2) {
        survey.unseen.set(Some(place));
        assert_eq!(surveyed(&survey).unwrap().1.head, 3, "{place:?}");
    }
}

#[test]
fn a_survey_reads_what_an_open_reads_and_its_reader_too() {
    let site = TestDirectory::with_groups(&[&[10, 900], &[3_000], &[5_000], &[1]]);
    let before = site.contents();
    let survey = Survey::alone(site.path()).unwrap();
    let (records, found) = surveyed(&survey).unwrap();
    assert_eq!(found.reader.follow(0).next(usize::MAX).unwrap(), records);
    assert_eq!((found.groups, found.head, found.tail), (4, 5, None));
    assert_eq!(site.contents(), before);
    assert!(matches!(site.data_dir(), Err(DirError::Locked { .. })), "nobody may begin to write");
    drop(survey);
    assert_eq!(site.open().records, records);
}

#[test]
fn a_survey_judges_as_an_open_does_and_names_the_record() {
    let site = TestDirectory::with_groups(&[&[10, 900], &[3_000], &[5_000, 2], &[1]]);
    for (i, segment) in site.segments().iter().enumerate() {
        let whole = std::fs::read(segment).unwrap();
        for at in (0..whole.len()).step_by(97).filter(|at| whole[*at] != 0) {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            std::fs::write(segment, bytes).unwrap();
            let survey = Survey::alone(site.path()).unwrap();
            let error = surveyed(&survey).unwrap_err();
            let suspect = survey.suspect(&error).unwrap();
            drop(survey);
            let refused = site.refused(0);
            assert!(error.to_string().contains(&refused.what), "{i} {at}: {error}");
            assert!(suspect.seq > refused.last_good_seq, "{i} {at}: {suspect:?}");
            assert!(suspect.seq <= 6, "{i} {at}: {suspect:?}");
            if let Some((event, version, to)) = suspect.names {
                let seq = suspect.seq;
                assert_eq!((event, version), (format!("profile.{}", seq % 7), seq), "{at}");
                assert_eq!(to.is_some(), seq.is_multiple_of(3), "{at}");
            }
        }
        std::fs::write(segment, whole).unwrap();
    }
}

#[test]
fn a_directory_is_made_for_a_log_and_is_no_other_logs() {
    let site = TestDirectory::new();
    let log = Uuid::now_v7();
    assert!(matches!(Survey::beside(site.path()), Err(DirError::NoLog { .. })));
    let dir = DataDir::open_for(site.path(), log).unwrap();
    assert_eq!(dir.log_id(), log);
    drop(dir);
    assert_eq!(DataDir::open_for(site.path(), log).unwrap().log_id(), log);
    let other = DataDir::open_for(site.path(), Uuid::now_v7());
    assert!(matches!(other, Err(DirError::OtherLog { found, .. }) if found == log));
}

//! Opens that pass over what a checkpoint stands for.

use crate::journal::open::snapshot;
use crate::journal::tests::*;

/// One group each, in several segments.
const GROUPS: u64 = 60;

/// An open that knows a checkpoint.
struct OpenedBehindSnapshot {
    journal: Journal,
    earlier: Option<UnverifiedSegments>,
    read: Vec<Seq>,
}

/// Writes a checkpoint of what is durable; which records stand in it is not the journal's business.
fn write(journal: &Journal, records: &[Arc<Record>]) {
    let reader = journal.reader();
    let mut writer = SnapshotWriter::begin(&reader).unwrap();
    records.iter().for_each(|record| writer.push(record).unwrap());
    writer.finish(reader.durable()).unwrap();
}

/// A log of several segments with a checkpoint after `checkpointed` groups, and some more.
fn site(checkpointed: u64) -> TestDirectory {
    let site = TestDirectory::new();
    let mut journal = site.open().journal;
    for head in 0..GROUPS {
        if head == checkpointed {
            write(&journal, &[record(1, 5), record(checkpointed, 9)]);
        }
        journal.append(&group(head, &[120])).unwrap();
    }
    journal.close().unwrap();
    site
}

fn try_open(site: &TestDirectory, read_from: Seq) -> Result<OpenedBehindSnapshot, JournalError> {
    let dir = site.data_dir().unwrap();
    let snapshot = Journal::snapshot(&dir);
    let options = JournalOptions { segment_bytes_max: SEGMENT_BYTES };
    let mut read = Vec::new();
    let mut visit = |stored: &StoredRecord<'_>, _: &Digest| {
        read.push(stored.to_record()?.seq());
        Ok(())
    };
    let known = OpenContext {
        durable_seq_min: 0,
        confirm_durable: None,
        snapshot: snapshot.as_ref(),
        read_from,
    };
    let OpenedJournal { journal, report, unverified } =
        Journal::open_with(&dir, options, &known, &mut visit)?;
    assert_eq!(report.head, GROUPS);
    Ok(OpenedBehindSnapshot { journal, earlier: unverified, read })
}

fn open(site: &TestDirectory, read_from: Seq) -> OpenedBehindSnapshot {
    try_open(site, read_from).unwrap()
}

/// Seqs that segments begin with.
fn first_seqs(site: &TestDirectory) -> Vec<Seq> {
    let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    site.segments().into_iter().map(name).collect()
}

#[test]
fn what_comes_before_the_segment_of_the_head_is_passed_over_and_can_be_read_all_the_same() {
    let site = site(40);
    let begin = *first_seqs(&site).iter().rfind(|first| **first <= 40).unwrap();
    assert!(begin > 1, "there is something to pass over");
    let OpenedBehindSnapshot { mut journal, earlier, read } = open(&site, Seq::MAX);
    assert_eq!(read, (begin..=GROUPS).collect::<Vec<_>>());
    let earlier = earlier.unwrap();
    assert_eq!(earlier.last_seq(), begin - 1);
    assert!(earlier.verify(&mut |_| true).unwrap());
    let mut asked = 0;
    let stopped = earlier.verify(&mut |_| {
        asked += 1;
        asked < 2
    });
    assert!(!stopped.unwrap(), "it was ended");

    journal.append(&group(GROUPS, &[5])).unwrap();
    for after in 0..GROUPS {
        let records = journal.reader().follow(after).next(usize::MAX).unwrap();
        assert_eq!(records.first().unwrap().seq(), after + 1);
        assert_eq!(records.last().unwrap().seq(), GROUPS + 1);
    }
}

#[test]
fn a_seq_that_is_asked_for_is_read_and_all_that_follows() {
    let site = site(40);
    let firsts = first_seqs(&site);
    let second = firsts[1];
    assert_eq!(open(&site, second).read, (second..=GROUPS).collect::<Vec<_>>());
    let passed = open(&site, second - 1);
    assert_eq!(passed.read, (1..=GROUPS).collect::<Vec<_>>());
    assert!(passed.earlier.is_none());
}

#[test]
fn its_records_are_shown_in_order() {
    let site = site(40);
    let mut shown = Vec::new();
    let snapshot = Journal::snapshot(&site.data_dir().unwrap()).unwrap();
    assert_eq!(snapshot.head(), 40);
    let visited = snapshot.visit(&mut |stored| {
        shown.push(stored.to_record()?);
        Ok(())
    });
    visited.unwrap();
    let expected = [record(1, 5), record(40, 9)];
    assert_eq!(shown, expected.map(|record| Record::clone(&record)));
}

#[test]
fn whatever_is_changed_in_what_was_passed_over_is_found_and_named() {
    let site = site(40);
    let passed = first_seqs(&site).iter().filter(|first| **first <= 40).count() - 1;
    for path in &site.segments()[..passed] {
        let whole = std::fs::read(path).unwrap();
        for at in (0..whole.len()).step_by(97) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(path, &bytes).unwrap();
            let error = match try_open(&site, Seq::MAX) {
                Err(error) => error,
                Ok(OpenedBehindSnapshot { earlier, .. }) => {
                    earlier.expect("it was passed over").verify(&mut |_| true).unwrap_err()
                }
            };
            let JournalError::Damage { file, .. } = &error else { panic!("{at}: {error}") };
            assert!(site.segments()[..=passed].contains(file), "{at}: {error}");
        }
        std::fs::write(path, whole).unwrap();
    }
    assert!(open(&site, Seq::MAX).earlier.unwrap().verify(&mut |_| true).unwrap());
}

#[test]
fn a_snapshot_that_is_not_whole_is_of_no_use_and_harms_nothing() {
    let site = site(40);
    let path = snapshot::path(&site.journal());
    let whole = std::fs::read(&path).unwrap();
    let read_all = || {
        let passed = open(&site, Seq::MAX);
        assert_eq!(passed.read, (1..=GROUPS).collect::<Vec<_>>());
    };
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bytes).unwrap();
        assert!(Journal::snapshot(&site.data_dir().unwrap()).is_none(), "byte {at}");
    }
    for len in 0..whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        assert!(Journal::snapshot(&site.data_dir().unwrap()).is_none(), "length {len}");
    }
    read_all();
    std::fs::write(&path, [&whole[..], b"0"].concat()).unwrap();
    read_all();
    let dir = site.data_dir().unwrap();
    Journal::remove_snapshot(&dir).unwrap();
    drop(dir);
    read_all();
}

#[test]
fn a_log_that_ends_before_the_snapshot_is_damaged() {
    let site = site(40);
    let segments = site.segments();
    let after = first_seqs(&site).iter().position(|first| *first > 40).unwrap();
    for path in &segments[after - 1..] {
        std::fs::remove_file(path).unwrap();
    }
    // The mark alone would show it, too.
    std::fs::write(site.mark(), [0; 8192]).unwrap();
    let error = try_open(&site, Seq::MAX).err().unwrap();
    assert!(error.to_string().contains("seq 40"), "{error}");
}

#[test]
fn a_segment_that_is_missing_or_foreign_lets_everything_be_read() {
    let site = site(40);
    let segments = site.segments();
    let second = std::fs::read(&segments[1]).unwrap();
    std::fs::remove_file(&segments[1]).unwrap();
    assert!(matches!(try_open(&site, Seq::MAX), Err(JournalError::Damage { .. })));
    std::fs::write(&segments[1], &second[..second.len() - 8]).unwrap();
    assert!(matches!(try_open(&site, Seq::MAX), Err(JournalError::Damage { .. })));
    std::fs::write(&segments[1], &second).unwrap();
    open(&site, Seq::MAX);

    let other = super::snapshot::site(40);
    let theirs = snapshot::path(&other.journal());
    std::fs::copy(theirs, snapshot::path(&site.journal())).unwrap();
    assert_eq!(open(&site, Seq::MAX).read.len() as u64, GROUPS, "another log's checkpoint");
}

#[test]
fn one_that_was_not_finished_leaves_no_file_and_the_one_before() {
    let site = site(40);
    let journal = site.open().journal;
    let before = std::fs::read(snapshot::path(&site.journal())).unwrap();
    let reader = journal.reader();
    let mut writer = SnapshotWriter::begin(&reader).unwrap();
    writer.push(&record(1, 5)).unwrap();
    drop(writer);
    assert_eq!(site.names().iter().filter(|name| name.ends_with(".tmp")).count(), 0);
    assert_eq!(std::fs::read(snapshot::path(&site.journal())).unwrap(), before);
}

#[test]
fn it_states_the_chain_at_its_head() {
    let site = TestDirectory::with_groups(&[&[5, 6], &[7], &[8, 9, 10]]);
    let mut chains = vec![[0; 32]];
    let dir = site.data_dir().unwrap();
    let mut visit = |_: &StoredRecord<'_>, after: &Digest| {
        chains.push(*after);
        Ok(())
    };
    let journal = Journal::open(&dir, JournalOptions::default(), 0, &mut visit).unwrap().journal;
    for head in [0, 2, 3, 6] {
        SnapshotWriter::begin(&journal.reader()).unwrap().finish(head).unwrap();
        let snapshot = Journal::snapshot(&dir).unwrap();
        assert_eq!((snapshot.head(), *snapshot.chain()), (head, chains[head as usize]));
    }
}

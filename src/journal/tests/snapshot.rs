//! Opens that skip the segments covered by a snapshot.

use crate::journal::open::snapshot;
use crate::journal::tests::*;

/// Number of groups, each with one record.
const GROUPS: u64 = 60;

/// A journal that was opened with its snapshot.
struct OpenedWithSnapshot {
    journal: Journal,
    unverified: Option<UnverifiedSegments>,
    read: Vec<Seq>,
}

/// Writes a snapshot up to the durable seq. Its records are the caller's choice.
fn write(journal: &Journal, records: &[Arc<Record>]) {
    let reader = journal.reader();
    let mut writer = SnapshotWriter::begin(&reader).unwrap();
    records.iter().for_each(|record| writer.push(record).unwrap());
    writer.finish(reader.durable()).unwrap();
}

/// A log of several segments with a snapshot after `snapshot_head` of its groups.
fn with_snapshot_at(snapshot_head: u64) -> TestDirectory {
    let test_dir = TestDirectory::new();
    let mut journal = test_dir.open().journal;
    for head in 0..GROUPS {
        if head == snapshot_head {
            write(&journal, &[record(1, 5), record(snapshot_head, 9)]);
        }
        journal.append(&group(head, &[120])).unwrap();
    }
    journal.close().unwrap();
    test_dir
}

fn try_open(test_dir: &TestDirectory, read_from: Seq) -> Result<OpenedWithSnapshot, JournalError> {
    let dir = test_dir.data_dir().unwrap();
    let snapshot = Journal::snapshot(&dir);
    let options = JournalOptions { segment_bytes_max: SEGMENT_BYTES };
    let mut read = Vec::new();
    let mut visit = |stored: &StoredRecord<'_>, _: &Digest| {
        read.push(stored.to_record()?.seq());
        Ok(())
    };
    let context = OpenContext {
        durable_seq_min: 0,
        confirm_durable: None,
        snapshot: snapshot.as_ref(),
        read_from,
    };
    let OpenedJournal { journal, report, unverified } =
        Journal::open_with(&dir, options, &context, &mut visit)?;
    assert_eq!(report.head, GROUPS);
    Ok(OpenedWithSnapshot { journal, unverified, read })
}

fn open(test_dir: &TestDirectory, read_from: Seq) -> OpenedWithSnapshot {
    try_open(test_dir, read_from).unwrap()
}

/// The first seq of each segment.
fn first_seqs(test_dir: &TestDirectory) -> Vec<Seq> {
    let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    test_dir.segments().into_iter().map(name).collect()
}

#[test]
fn segments_before_the_snapshot_head_are_skipped_and_remain_readable() {
    let test_dir = with_snapshot_at(40);
    let first_read = *first_seqs(&test_dir).iter().rfind(|first| **first <= 40).unwrap();
    assert!(first_read > 1, "there are segments to skip");
    let OpenedWithSnapshot { mut journal, unverified, read } = open(&test_dir, Seq::MAX);
    assert_eq!(read, (first_read..=GROUPS).collect::<Vec<_>>());
    let unverified = unverified.unwrap();
    assert_eq!(unverified.last_seq(), first_read - 1);
    assert!(unverified.verify(&mut |_| true).unwrap());
    let mut asked = 0;
    let stopped = unverified.verify(&mut |_| {
        asked += 1;
        asked < 2
    });
    assert!(!stopped.unwrap(), "the verification was stopped");

    journal.append(&group(GROUPS, &[5])).unwrap();
    for after in 0..GROUPS {
        let records = journal.reader().follow(after).next(usize::MAX).unwrap();
        assert_eq!(records.first().unwrap().seq(), after + 1);
        assert_eq!(records.last().unwrap().seq(), GROUPS + 1);
    }
}

#[test]
fn records_from_the_requested_seq_on_are_read() {
    let test_dir = with_snapshot_at(40);
    let first_seqs = first_seqs(&test_dir);
    let second = first_seqs[1];
    assert_eq!(open(&test_dir, second).read, (second..=GROUPS).collect::<Vec<_>>());
    let opened = open(&test_dir, second - 1);
    assert_eq!(opened.read, (1..=GROUPS).collect::<Vec<_>>());
    assert!(opened.unverified.is_none());
}

#[test]
fn snapshot_records_are_visited_in_order() {
    let test_dir = with_snapshot_at(40);
    let mut shown = Vec::new();
    let snapshot = Journal::snapshot(&test_dir.data_dir().unwrap()).unwrap();
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
fn damage_in_skipped_segments_is_detected_and_located() {
    let test_dir = with_snapshot_at(40);
    let skipped = first_seqs(&test_dir).iter().filter(|first| **first <= 40).count() - 1;
    for path in &test_dir.segments()[..skipped] {
        let whole = std::fs::read(path).unwrap();
        for at in (0..whole.len()).step_by(97) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(path, &bytes).unwrap();
            let error = match try_open(&test_dir, Seq::MAX) {
                Err(error) => error,
                Ok(OpenedWithSnapshot { unverified, .. }) => {
                    unverified.expect("segments were skipped").verify(&mut |_| true).unwrap_err()
                }
            };
            let JournalError::Damage { file, .. } = &error else { panic!("{at}: {error}") };
            assert!(test_dir.segments()[..=skipped].contains(file), "{at}: {error}");
        }
        std::fs::write(path, whole).unwrap();
    }
    assert!(open(&test_dir, Seq::MAX).unverified.unwrap().verify(&mut |_| true).unwrap());
}

#[test]
fn damaged_snapshot_is_ignored() {
    let test_dir = with_snapshot_at(40);
    let path = snapshot::path(&test_dir.journal());
    let whole = std::fs::read(&path).unwrap();
    let read_all = || {
        let opened = open(&test_dir, Seq::MAX);
        assert_eq!(opened.read, (1..=GROUPS).collect::<Vec<_>>());
    };
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bytes).unwrap();
        assert!(Journal::snapshot(&test_dir.data_dir().unwrap()).is_none(), "byte {at}");
    }
    for len in 0..whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        assert!(Journal::snapshot(&test_dir.data_dir().unwrap()).is_none(), "length {len}");
    }
    read_all();
    std::fs::write(&path, [&whole[..], b"0"].concat()).unwrap();
    read_all();
    let dir = test_dir.data_dir().unwrap();
    Journal::remove_snapshot(&dir).unwrap();
    drop(dir);
    read_all();
}

#[test]
fn log_that_ends_before_the_snapshot_is_damaged() {
    let test_dir = with_snapshot_at(40);
    let segments = test_dir.segments();
    let after = first_seqs(&test_dir).iter().position(|first| *first > 40).unwrap();
    for path in &segments[after - 1..] {
        std::fs::remove_file(path).unwrap();
    }
    // The watermark alone would show it too.
    std::fs::write(test_dir.watermark(), [0; 8192]).unwrap();
    let error = try_open(&test_dir, Seq::MAX).err().unwrap();
    assert!(error.to_string().contains("seq 40"), "{error}");
}

#[test]
fn missing_segment_is_damage_and_a_foreign_snapshot_is_ignored() {
    let test_dir = with_snapshot_at(40);
    let segments = test_dir.segments();
    let second = std::fs::read(&segments[1]).unwrap();
    std::fs::remove_file(&segments[1]).unwrap();
    assert!(matches!(try_open(&test_dir, Seq::MAX), Err(JournalError::Damage { .. })));
    std::fs::write(&segments[1], &second[..second.len() - 8]).unwrap();
    assert!(matches!(try_open(&test_dir, Seq::MAX), Err(JournalError::Damage { .. })));
    std::fs::write(&segments[1], &second).unwrap();
    open(&test_dir, Seq::MAX);

    let other = with_snapshot_at(40);
    let foreign = snapshot::path(&other.journal());
    std::fs::copy(foreign, snapshot::path(&test_dir.journal())).unwrap();
    assert_eq!(open(&test_dir, Seq::MAX).read.len() as u64, GROUPS, "the snapshot of another log");
}

#[test]
fn unfinished_snapshot_leaves_no_file_and_keeps_the_previous_one() {
    let test_dir = with_snapshot_at(40);
    let journal = test_dir.open().journal;
    let before = std::fs::read(snapshot::path(&test_dir.journal())).unwrap();
    let reader = journal.reader();
    let mut writer = SnapshotWriter::begin(&reader).unwrap();
    writer.push(&record(1, 5)).unwrap();
    drop(writer);
    assert!(!test_dir.journal().join(snapshot::TEMPORARY_NAME).exists());
    assert_eq!(std::fs::read(snapshot::path(&test_dir.journal())).unwrap(), before);
}

/// An earlier build wrote the snapshot to `checkpoint`, by way of `checkpoint.tmp`.
#[test]
fn snapshot_under_its_former_name_is_removed_by_an_open() {
    let test_dir = TestDirectory::with_groups(&[&[5, 6], &[7]]);
    for name in ["checkpoint", "checkpoint.tmp"] {
        std::fs::write(test_dir.journal().join(name), "derived").unwrap();
    }
    let opened = test_dir.open();
    assert_eq!((opened.records.len(), opened.report.torn), (3, None));
    assert_eq!(test_dir.names(), ["00000000000000000001.seg", "mark"]);
}

#[test]
fn snapshot_states_the_chain_at_its_head() {
    let test_dir = TestDirectory::with_groups(&[&[5, 6], &[7], &[8, 9, 10]]);
    let mut chains = vec![[0; 32]];
    let dir = test_dir.data_dir().unwrap();
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

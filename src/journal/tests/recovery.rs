//! Opening after a crash.

use std::fs;
use std::os::unix::fs::FileExt as _;

use crate::journal::disk::simulated::{DiskFault, Image, SimulatedDisk};
use crate::journal::tests::*;

/// A closed journal of three groups in one segment, and the start and end of the last frame. The
/// watermark covers only the first two.
fn with_group_behind_watermark() -> (TestDirectory, usize, usize) {
    let test_dir = TestDirectory::with_groups(&[&[20, 30], &[40]]);
    let watermark = fs::read(test_dir.watermark()).unwrap();
    let from = used(&test_dir.segments()[0]);
    let mut journal = test_dir.open().journal;
    journal.append(&group(3, &[25, 5])).unwrap();
    journal.close().unwrap();
    fs::write(test_dir.watermark(), watermark).unwrap();
    let to = used(&test_dir.segments()[0]);
    (test_dir, from, to)
}

/// Length of a file without the zeros at its end, rounded up to the alignment of frames.
fn used(path: &Path) -> usize {
    let bytes = fs::read(path).unwrap();
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    (bytes.len() - zeros).next_multiple_of(8)
}

#[test]
fn group_cut_at_any_byte_is_quarantined_and_the_log_continues() {
    let (test_dir, from, to) = with_group_behind_watermark();
    let segment = &test_dir.segments()[0];
    let whole = fs::read(segment).unwrap();
    let watermark = fs::read(test_dir.watermark()).unwrap();
    for cut in from + 1..to {
        let mut bytes = whole.clone();
        bytes[cut..].fill(0);
        if bytes == whole {
            continue; // Only padding was cut.
        }
        fs::write(segment, &bytes).unwrap();
        fs::write(test_dir.watermark(), &watermark).unwrap();
        let opened = test_dir.open();
        let torn = opened.report.torn.unwrap();
        assert_eq!(opened.records.len(), 3, "cut at {cut}");
        assert_eq!((torn.offset, torn.last_good_seq), (from as u64, 3));
        assert_eq!(&torn.file, segment);
        let kept = fs::read(&torn.kept_at).unwrap();
        assert_eq!(kept.len() as u64, torn.bytes);
        assert!(bytes[from..].starts_with(&kept));
        assert_eq!(used(segment), from);
        let mut journal = opened.journal;
        journal.append(&group(3, &[1])).unwrap();
        drop(journal);
        let opened = test_dir.open();
        assert_eq!((opened.records.len(), opened.report.torn), (4, None));
        fs::remove_file(torn.kept_at).unwrap();
    }
}

/// The blocks of a write reach the disk in any order, so any part of the last frame may be missing.
#[test]
fn last_group_with_any_part_missing_is_a_torn_tail() {
    let (test_dir, from, to) = with_group_behind_watermark();
    let segment = &test_dir.segments()[0];
    let whole = fs::read(segment).unwrap();
    let watermark = fs::read(test_dir.watermark()).unwrap();
    for start in (from..to).step_by(8) {
        for end in [start + 8, start + 64, to] {
            let mut bytes = whole.clone();
            bytes[start..end.min(to)].fill(0);
            if bytes == whole || bytes[from..to].iter().all(|byte| *byte == 0) {
                continue;
            }
            fs::write(segment, &bytes).unwrap();
            fs::write(test_dir.watermark(), &watermark).unwrap();
            let opened = test_dir.open();
            assert_eq!(opened.records.len(), 3, "zeros from {start} to {end}");
            fs::remove_file(opened.report.torn.unwrap().kept_at).unwrap();
        }
    }
}

#[test]
fn torn_tails_are_quarantined_under_different_names() {
    let (test_dir, from, to) = with_group_behind_watermark();
    let segment = &test_dir.segments()[0];
    let mut torn = fs::read(segment).unwrap();
    let watermark = fs::read(test_dir.watermark()).unwrap();
    torn[from + 100..to].fill(0);
    for n in 1..=2 {
        fs::write(segment, &torn).unwrap();
        fs::write(test_dir.watermark(), &watermark).unwrap();
        let kept_at = test_dir.open().report.torn.unwrap().kept_at;
        assert_eq!(kept_at, test_dir.journal().join(format!("torn-3-{n}")));
    }
}

#[test]
fn garbage_after_the_log_is_a_torn_tail() {
    let test_dir = TestDirectory::with_groups(&[&[20]]);
    let segment = &test_dir.segments()[0];
    let bytes = fs::read(segment).unwrap();
    for at in [used(segment) + 1, used(segment) + 800, bytes.len() - 1] {
        let mut bytes = bytes.clone();
        bytes[at] = 1;
        fs::write(segment, &bytes).unwrap();
        let opened = test_dir.open();
        assert_eq!(opened.records.len(), 1);
        assert_eq!(opened.report.torn.unwrap().offset, used(segment) as u64);
    }
}

#[test]
fn broken_last_group_that_was_acknowledged_is_damage() {
    let (test_dir, from, to) = with_group_behind_watermark();
    let segment = &test_dir.segments()[0];
    let mut bytes = fs::read(segment).unwrap();
    bytes[to - 20] ^= 1;
    fs::write(segment, &bytes).unwrap();
    let refused = test_dir.refused(5);
    assert_eq!((refused.offset, refused.last_good_seq), (from as u64, 3));
    assert_eq!(&refused.file, segment);
    assert!(refused.what.contains("other evidence shows that seq 5"), "{}", refused.what);
    bytes[from..].fill(0);
    fs::write(segment, &bytes).unwrap();
    assert!(test_dir.refused(4).what.starts_with("the log ends here"));
    assert_eq!(test_dir.try_open(3).unwrap().records.len(), 3);
}

/// Opens a log with evidence that `durable_seq` was durable. Returns whether it was queried, and
/// the head.
fn open_with_evidence(
    test_dir: &TestDirectory,
    durable_seq: Seq,
) -> (bool, Result<Seq, JournalError>) {
    let asked = std::cell::Cell::new(false);
    let confirm_durable = || {
        asked.set(true);
        durable_seq
    };
    let context = OpenContext {
        durable_seq_min: 1,
        confirm_durable: Some(&confirm_durable),
        snapshot: None,
        read_from: 0,
    };
    let options = JournalOptions { segment_bytes_max: SEGMENT_BYTES };
    let opened =
        Journal::open_with(&test_dir.data_dir().unwrap(), options, &context, &mut |_, _| Ok(()));
    (asked.get(), opened.map(|opened| opened.report.head))
}

#[test]
fn slow_evidence_is_not_queried_when_the_log_ends_as_after_a_kill() {
    let whole = TestDirectory::with_groups(&[&[20, 30], &[40], &[1]]);
    assert!(matches!(open_with_evidence(&whole, 9), (false, Ok(4))), "it ends at the watermark");
    let (test_dir, from, to) = with_group_behind_watermark();
    let (segment, watermark) = (&test_dir.segments()[0], fs::read(test_dir.watermark()).unwrap());
    assert!(
        matches!(open_with_evidence(&test_dir, 9), (false, Ok(5))),
        "one intact group behind the watermark"
    );

    // The open advanced the watermark.
    fs::remove_file(test_dir.watermark()).unwrap();
    assert!(matches!(open_with_evidence(&test_dir, 5), (true, Ok(5))));
    fs::remove_file(test_dir.watermark()).unwrap();
    assert!(matches!(open_with_evidence(&test_dir, 6), (true, Err(JournalError::Damage { .. }))));
    let mut journal = test_dir.open().journal;
    journal.append(&group(5, &[1])).unwrap();
    journal.close().unwrap();
    fs::write(test_dir.watermark(), &watermark).unwrap();
    assert!(
        matches!(open_with_evidence(&test_dir, 6), (true, Ok(6))),
        "two groups behind the watermark"
    );

    let (torn, from_torn, _) = with_group_behind_watermark();
    assert_eq!(from_torn, from);
    let mut bytes = fs::read(&torn.segments()[0]).unwrap();
    bytes[to - 20] ^= 1;
    fs::write(&torn.segments()[0], &bytes).unwrap();
    let before = torn.contents();
    assert!(matches!(open_with_evidence(&torn, 5), (true, Err(JournalError::Damage { .. }))));
    assert_eq!(torn.contents(), before, "a refused open changes nothing");
    assert!(matches!(open_with_evidence(&torn, 3), (true, Ok(3))));
    assert_ne!(fs::read(segment).unwrap(), bytes);
}

#[test]
fn bytes_after_the_watermark_are_written_and_synced_again() {
    let (test_dir, from, to) = with_group_behind_watermark();
    let opened = test_dir.open();
    assert_eq!(opened.report.rewritten_bytes, (to - from) as u64);
    assert_eq!(opened.records.len(), 5);
    drop(opened);
    // The open itself wrote a watermark.
    assert_eq!(test_dir.open().report.rewritten_bytes, 0);
}

#[test]
fn last_segment_is_rewritten_if_the_watermark_is_missing() {
    let test_dir = TestDirectory::with_groups(&[&[3000], &[3000], &[20]]);
    fs::remove_file(test_dir.watermark()).unwrap();
    let last = test_dir.segments().pop().unwrap();
    let opened = test_dir.open();
    assert_eq!(opened.report.rewritten_bytes, (used(&last) - 104) as u64);
    drop(opened);
    let watermark = fs::OpenOptions::new().write(true).open(test_dir.watermark()).unwrap();
    for slot in [0, 4096] {
        watermark.write_all_at(&[7; 80], slot).unwrap();
    }
    let opened = test_dir.open();
    assert_eq!((opened.records.len(), opened.report.torn), (3, None));
}

/// The crash happens after a segment was filled with zeros, or after it was named.
#[test]
fn preallocated_segment_is_removed_and_a_named_one_is_used() {
    let test_dir = TestDirectory::with_groups(&[&[20]]);
    for name in ["next.tmp", "own.tmp"] {
        fs::write(test_dir.journal().join(name), vec![0; 4096]).unwrap();
    }
    assert_eq!(test_dir.open().records.len(), 1);
    assert_eq!(test_dir.names(), ["00000000000000000001.seg", "mark"]);

    let test_dir = TestDirectory::with_groups(&[&[3000], &[3000]]);
    let last = test_dir.segments().pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    bytes[104..].fill(0);
    fs::write(&last, &bytes).unwrap();
    assert!(test_dir.refused(0).what.contains("watermark shows that seq 2"));
    fs::remove_file(test_dir.watermark()).unwrap();
    let mut opened = test_dir.open();
    assert_eq!(opened.records.len(), 1);
    opened.journal.append(&group(1, &[3000])).unwrap();
    drop(opened);
    assert_eq!(test_dir.open().records.len(), 2);
    assert_eq!(test_dir.segments().len(), 2);
}

#[test]
fn visitor_error_refuses_the_open() {
    let test_dir = TestDirectory::with_groups(&[&[20, 20], &[20, 20]]);
    let before = test_dir.contents();
    let dir = test_dir.data_dir().unwrap();
    let mut left = 3;
    let mut visit = |_: &StoredRecord<'_>, _: &Digest| {
        left -= 1;
        if left == 0 { Err(crate::record::RecordError::Commitment("meta")) } else { Ok(()) }
    };
    let refused = Journal::open(&dir, JournalOptions::default(), 0, &mut visit).unwrap_err();
    assert!(matches!(refused, JournalError::Record { seq: 3, .. }), "{refused}");
    assert_eq!(test_dir.contents(), before);
}

/// If the sync of a cut fails, the system may treat the zeros as written, so the next open reads
/// zeros. A regression: a later power cut brought the tail back, behind records appended since or
/// in a segment that was no longer the last.
#[test]
fn torn_tail_does_not_reappear_after_a_failed_cut() {
    let test_dir = TestDirectory::with_groups(&[&[20], &[20]]);
    let segment = &test_dir.segments()[0];
    let (used, mut bytes) = (used(segment), fs::read(segment).unwrap());
    bytes[used..used + 900].fill(7);
    fs::write(segment, &bytes).unwrap();
    let mut failed = 0;
    for (seed, after) in (0..12).flat_map(|seed| (0..12).map(move |after| (seed, after))) {
        let restored = TestDirectory::new();
        let disk = SimulatedDisk::new(restored.path(), seed);
        disk.replace(&image(&test_dir));
        SimulatedDisk::install(Some(&disk));
        {
            let dir = restored.data_dir().unwrap();
            let options = JournalOptions { segment_bytes_max: SEGMENT_BYTES };
            disk.plan(DiskFault::Sync, after);
            let opened = Journal::open(&dir, options, 0, &mut |_, _| Ok(()));
            failed += u32::from(opened.is_err());
        }
        disk.restart();
        let mut journal = restored.open().journal;
        let head = journal.head();
        journal.append(&group(head, &[100])).unwrap();
        journal.append(&group(head + 1, &[3000])).unwrap();
        drop(journal);
        disk.cut_power();
        assert_eq!(restored.open().records.len(), 4, "seed {seed}, operation {after}");
        SimulatedDisk::install(None);
    }
    assert!(failed > 48, "only {failed} opens failed");
}

/// After an open that died before the cut, the next one finds both the tail and its copy. A
/// regression: each start made another copy.
#[test]
fn torn_tail_is_quarantined_once_however_often_the_open_is_interrupted() {
    let torn = || {
        let test_dir = TestDirectory::with_groups(&[&[20]]);
        let segment = test_dir.segments().remove(0);
        let (used, mut bytes) = (used(&segment), fs::read(&segment).unwrap());
        bytes[used..used + 900].fill(7);
        fs::write(&segment, &bytes).unwrap();
        test_dir
    };
    let quarantined_names = |test_dir: &TestDirectory| {
        let names = test_dir.names().into_iter().filter(|name| name.starts_with("torn-"));
        names.collect::<Vec<_>>()
    };
    let test_dir = torn();
    fs::write(test_dir.journal().join("torn-1-1.cutting"), [7; 900]).unwrap();
    assert_eq!(test_dir.open().records.len(), 1);
    assert_eq!(quarantined_names(&test_dir), ["torn-1-1"]);

    let test_dir = torn();
    fs::write(test_dir.journal().join("torn-1-1.cutting"), [7; 300]).unwrap();
    assert_eq!(test_dir.open().records.len(), 1);
    assert_eq!(
        quarantined_names(&test_dir),
        ["torn-1-1", "torn-1-2"],
        "a truncated copy and a complete one"
    );
    assert_eq!(fs::read(test_dir.journal().join("torn-1-2")).unwrap(), [7; 900]);
}

/// The files of a data directory as an image of a simulated disk.
fn image(test_dir: &TestDirectory) -> Image {
    let mut image: Image = [("journal/".to_owned(), Vec::new())].into();
    image.insert("identity".to_owned(), fs::read(test_dir.path().join("identity")).unwrap());
    for (name, bytes) in test_dir.contents() {
        image.insert(format!("journal/{name}"), bytes);
    }
    image
}

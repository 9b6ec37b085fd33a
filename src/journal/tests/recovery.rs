//! Opening after a crash.

use std::fs;
use std::os::unix::fs::FileExt as _;

use crate::journal::disk::simulated::{DiskFault, Image, SimulatedDisk};
use crate::journal::tests::*;

/// A closed journal of three groups in one segment, and where its last frame lies; the mark knows
/// of the first two only.
fn with_unmarked_group() -> (TestDirectory, usize, usize) {
    let site = TestDirectory::with_groups(&[&[20, 30], &[40]]);
    let mark = fs::read(site.mark()).unwrap();
    let from = used(&site.segments()[0]);
    let mut journal = site.open().journal;
    journal.append(&group(3, &[25, 5])).unwrap();
    journal.close().unwrap();
    fs::write(site.mark(), mark).unwrap();
    let to = used(&site.segments()[0]);
    (site, from, to)
}

/// Bytes before the zeros at the end of a file, up to the alignment of frames.
fn used(path: &Path) -> usize {
    let bytes = fs::read(path).unwrap();
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    (bytes.len() - zeros).next_multiple_of(8)
}

#[test]
fn a_last_group_cut_at_any_byte_is_kept_aside_and_the_log_goes_on() {
    let (site, from, to) = with_unmarked_group();
    let segment = &site.segments()[0];
    let whole = fs::read(segment).unwrap();
    let mark = fs::read(site.mark()).unwrap();
    for cut in from + 1..to {
        let mut bytes = whole.clone();
        bytes[cut..].fill(0);
        if bytes == whole {
            continue; // Only padding was cut off.
        }
        fs::write(segment, &bytes).unwrap();
        fs::write(site.mark(), &mark).unwrap();
        let found = site.open();
        let torn = found.report.torn.unwrap();
        assert_eq!(found.records.len(), 3, "cut at {cut}");
        assert_eq!((torn.offset, torn.last_good_seq), (from as u64, 3));
        assert_eq!(&torn.file, segment);
        let kept = fs::read(&torn.kept_at).unwrap();
        assert_eq!(kept.len() as u64, torn.bytes);
        assert!(bytes[from..].starts_with(&kept));
        assert_eq!(used(segment), from);
        let mut journal = found.journal;
        journal.append(&group(3, &[1])).unwrap();
        drop(journal);
        let found = site.open();
        assert_eq!((found.records.len(), found.report.torn), (4, None));
        fs::remove_file(torn.kept_at).unwrap();
    }
}

/// Blocks of a write reach the disk in any order: any part of the last frame may be missing.
#[test]
fn a_last_group_with_any_part_missing_is_a_torn_tail() {
    let (site, from, to) = with_unmarked_group();
    let segment = &site.segments()[0];
    let whole = fs::read(segment).unwrap();
    let mark = fs::read(site.mark()).unwrap();
    for start in (from..to).step_by(8) {
        for end in [start + 8, start + 64, to] {
            let mut bytes = whole.clone();
            bytes[start..end.min(to)].fill(0);
            if bytes == whole || bytes[from..to].iter().all(|byte| *byte == 0) {
                continue;
            }
            fs::write(segment, &bytes).unwrap();
            fs::write(site.mark(), &mark).unwrap();
            let found = site.open();
            assert_eq!(found.records.len(), 3, "zeros from {start} to {end}");
            fs::remove_file(found.report.torn.unwrap().kept_at).unwrap();
        }
    }
}

#[test]
fn torn_tails_are_kept_under_different_names() {
    let (site, from, to) = with_unmarked_group();
    let segment = &site.segments()[0];
    let mut torn = fs::read(segment).unwrap();
    let mark = fs::read(site.mark()).unwrap();
    torn[from + 100..to].fill(0);
    for n in 1..=2 {
        fs::write(segment, &torn).unwrap();
        fs::write(site.mark(), &mark).unwrap();
        let kept_at = site.open().report.torn.unwrap().kept_at;
        assert_eq!(kept_at, site.journal().join(format!("torn-3-{n}")));
    }
}

#[test]
fn garbage_after_the_log_is_a_torn_tail() {
    let site = TestDirectory::with_groups(&[&[20]]);
    let segment = &site.segments()[0];
    let bytes = fs::read(segment).unwrap();
    for at in [used(segment) + 1, used(segment) + 800, bytes.len() - 1] {
        let mut bytes = bytes.clone();
        bytes[at] = 1;
        fs::write(segment, &bytes).unwrap();
        let found = site.open();
        assert_eq!(found.records.len(), 1);
        assert_eq!(found.report.torn.unwrap().offset, used(segment) as u64);
    }
}

#[test]
fn a_broken_last_group_that_was_acknowledged_is_damage() {
    let (site, from, to) = with_unmarked_group();
    let segment = &site.segments()[0];
    let mut bytes = fs::read(segment).unwrap();
    bytes[to - 20] ^= 1;
    fs::write(segment, &bytes).unwrap();
    let refused = site.refused(5);
    assert_eq!((refused.offset, refused.last_good_seq), (from as u64, 3));
    assert_eq!(&refused.file, segment);
    assert!(refused.what.contains("elsewhere that seq 5"), "{}", refused.what);
    bytes[from..].fill(0);
    fs::write(segment, &bytes).unwrap();
    assert!(site.refused(4).what.starts_with("the log ends here"));
    assert_eq!(site.try_open(3).unwrap().records.len(), 3);
}

/// Opens it beside a witness that knows of so many records: whether it was asked, and the head.
fn beside_evidence(site: &TestDirectory, knows: Seq) -> (bool, Result<Seq, JournalError>) {
    let asked = std::cell::Cell::new(false);
    let prove = || {
        asked.set(true);
        knows
    };
    let known = OpenContext {
        durable_seq_min: 1,
        confirm_durable: Some(&prove),
        snapshot: None,
        read_from: 0,
    };
    let options = JournalOptions { segment_bytes_max: SEGMENT_BYTES };
    let opened = Journal::open_with(&site.data_dir().unwrap(), options, &known, &mut |_, _| Ok(()));
    (asked.get(), opened.map(|opened| opened.report.head))
}

#[test]
fn a_evidence_that_takes_its_time_is_asked_unless_the_log_ends_as_a_kill_leaves_it() {
    let whole = TestDirectory::with_groups(&[&[20, 30], &[40], &[1]]);
    assert!(matches!(beside_evidence(&whole, 9), (false, Ok(4))), "it ends at the mark");
    let (site, from, to) = with_unmarked_group();
    let (segment, mark) = (&site.segments()[0], fs::read(site.mark()).unwrap());
    assert!(matches!(beside_evidence(&site, 9), (false, Ok(5))), "one whole group behind it");

    // An open moves the mark.
    fs::remove_file(site.mark()).unwrap();
    assert!(matches!(beside_evidence(&site, 5), (true, Ok(5))));
    fs::remove_file(site.mark()).unwrap();
    assert!(matches!(beside_evidence(&site, 6), (true, Err(JournalError::Damage { .. }))));
    let mut journal = site.open().journal;
    journal.append(&group(5, &[1])).unwrap();
    journal.close().unwrap();
    fs::write(site.mark(), &mark).unwrap();
    assert!(matches!(beside_evidence(&site, 6), (true, Ok(6))), "two groups behind the mark");

    let (torn, from_torn, _) = with_unmarked_group();
    assert_eq!(from_torn, from);
    let mut bytes = fs::read(&torn.segments()[0]).unwrap();
    bytes[to - 20] ^= 1;
    fs::write(&torn.segments()[0], &bytes).unwrap();
    let before = torn.contents();
    assert!(matches!(beside_evidence(&torn, 5), (true, Err(JournalError::Damage { .. }))));
    assert_eq!(torn.contents(), before, "a refused open changes nothing");
    assert!(matches!(beside_evidence(&torn, 3), (true, Ok(3))));
    assert_ne!(fs::read(segment).unwrap(), bytes);
}

#[test]
fn what_lies_after_the_mark_is_written_and_synced_again() {
    let (site, from, to) = with_unmarked_group();
    let found = site.open();
    assert_eq!(found.report.rewritten_bytes, (to - from) as u64);
    assert_eq!(found.records.len(), 5);
    drop(found);
    // The open itself left a mark.
    assert_eq!(site.open().report.rewritten_bytes, 0);
}

#[test]
fn without_a_mark_the_last_segment_is_written_again() {
    let site = TestDirectory::with_groups(&[&[3000], &[3000], &[20]]);
    fs::remove_file(site.mark()).unwrap();
    let last = site.segments().pop().unwrap();
    let found = site.open();
    assert_eq!(found.report.rewritten_bytes, (used(&last) - 104) as u64);
    drop(found);
    let marks = fs::OpenOptions::new().write(true).open(site.mark()).unwrap();
    for slot in [0, 4096] {
        marks.write_all_at(&[7; 80], slot).unwrap();
    }
    let found = site.open();
    assert_eq!((found.records.len(), found.report.torn), (3, None));
}

/// The crash comes after a segment was filled with zeros, and after it was named.
#[test]
fn a_segment_that_was_prepared_is_removed_and_one_that_was_named_is_used() {
    let site = TestDirectory::with_groups(&[&[20]]);
    for name in ["next.tmp", "own.tmp"] {
        fs::write(site.journal().join(name), vec![0; 4096]).unwrap();
    }
    assert_eq!(site.open().records.len(), 1);
    assert_eq!(site.names(), ["00000000000000000001.seg", "mark"]);

    let site = TestDirectory::with_groups(&[&[3000], &[3000]]);
    let last = site.segments().pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    bytes[104..].fill(0);
    fs::write(&last, &bytes).unwrap();
    assert!(site.refused(0).what.contains("mark shows that seq 2"));
    fs::remove_file(site.mark()).unwrap();
    let mut found = site.open();
    assert_eq!(found.records.len(), 1);
    found.journal.append(&group(1, &[3000])).unwrap();
    drop(found);
    assert_eq!(site.open().records.len(), 2);
    assert_eq!(site.segments().len(), 2);
}

#[test]
fn a_visitor_that_refuses_a_record_refuses_the_start() {
    let site = TestDirectory::with_groups(&[&[20, 20], &[20, 20]]);
    let before = site.contents();
    let dir = site.data_dir().unwrap();
    let mut left = 3;
    let mut visit = |_: &StoredRecord<'_>, _: &Digest| {
        left -= 1;
        if left == 0 { Err(crate::record::RecordError::Commitment("meta")) } else { Ok(()) }
    };
    let refused = Journal::open(&dir, JournalOptions::default(), 0, &mut visit).unwrap_err();
    assert!(matches!(refused, JournalError::Record { seq: 3, .. }), "{refused}");
    assert_eq!(site.contents(), before);
}

/// Where a sync fails that makes the zeros of a cut durable, the system believes them written: the
/// next open reads zeros, and a power cut later brought the tail back behind what was appended, or
/// in a segment that another one followed.
#[test]
fn a_torn_tail_whose_cut_failed_does_not_come_back() {
    let site = TestDirectory::with_groups(&[&[20], &[20]]);
    let segment = &site.segments()[0];
    let (used, mut bytes) = (used(segment), fs::read(segment).unwrap());
    bytes[used..used + 900].fill(7);
    fs::write(segment, &bytes).unwrap();
    let mut failed = 0;
    for (seed, after) in (0..12).flat_map(|seed| (0..12).map(move |after| (seed, after))) {
        let place = TestDirectory::new();
        let disk = SimulatedDisk::new(place.path(), seed);
        disk.replace(&image(&site));
        SimulatedDisk::install(Some(&disk));
        {
            let dir = place.data_dir().unwrap();
            let options = JournalOptions { segment_bytes_max: SEGMENT_BYTES };
            disk.plan(DiskFault::Sync, after);
            let opened = Journal::open(&dir, options, 0, &mut |_, _| Ok(()));
            failed += u32::from(opened.is_err());
        }
        disk.restart();
        let mut journal = place.open().journal;
        let head = journal.head();
        journal.append(&group(head, &[100])).unwrap();
        journal.append(&group(head + 1, &[3000])).unwrap();
        drop(journal);
        disk.cut_power();
        assert_eq!(place.open().records.len(), 4, "seed {seed}, operation {after}");
        SimulatedDisk::install(None);
    }
    assert!(failed > 48, "syncs of the open failed: {failed}");
}

/// An open that dies before the cut finds the tail, and the copy of the one before, again: once it
/// made another copy at each start.
#[test]
fn a_torn_tail_is_kept_once_however_often_an_open_comes_no_further() {
    let torn = || {
        let site = TestDirectory::with_groups(&[&[20]]);
        let segment = site.segments().remove(0);
        let (used, mut bytes) = (used(&segment), fs::read(&segment).unwrap());
        bytes[used..used + 900].fill(7);
        fs::write(&segment, &bytes).unwrap();
        site
    };
    let kept = |site: &TestDirectory| {
        let names = site.names().into_iter().filter(|name| name.starts_with("torn-"));
        names.collect::<Vec<_>>()
    };
    let site = torn();
    fs::write(site.journal().join("torn-1-1.cutting"), [7; 900]).unwrap();
    assert_eq!(site.open().records.len(), 1);
    assert_eq!(kept(&site), ["torn-1-1"]);

    let site = torn();
    fs::write(site.journal().join("torn-1-1.cutting"), [7; 300]).unwrap();
    assert_eq!(site.open().records.len(), 1);
    assert_eq!(kept(&site), ["torn-1-1", "torn-1-2"], "a copy that was cut short, and the whole");
    assert_eq!(fs::read(site.journal().join("torn-1-2")).unwrap(), [7; 900]);
}

/// The files of a data directory, as a simulated disk takes them.
fn image(site: &TestDirectory) -> Image {
    let mut image: Image = [("journal/".to_owned(), Vec::new())].into();
    image.insert("identity".to_owned(), fs::read(site.path().join("identity")).unwrap());
    for (name, bytes) in site.contents() {
        image.insert(format!("journal/{name}"), bytes);
    }
    image
}

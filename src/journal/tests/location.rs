//! Reading records by location.

use std::fs;

use proptest::prelude::*;

use crate::journal::tests::*;

/// Every record of a log with its location, from a follower that reads little at a time.
fn locate(reader: &Reader) -> Vec<LocatedRecord> {
    let mut follower = reader.follow(0);
    let mut all = Vec::new();
    loop {
        let located = follower.next_located(700).unwrap();
        if located.is_empty() {
            return all;
        }
        all.extend(located);
    }
}

/// A journal with small and large groups in several segments, and its records.
fn journal_of_several_segments() -> (TestDirectory, Journal, Vec<Record>) {
    let test_dir = TestDirectory::new();
    let mut journal = test_dir.open().journal;
    let mut all = Vec::new();
    for lengths in [&[300][..], &[0, 700, 20], &[2500], &[1; 120], &[40, 40]] {
        let group = group(journal.head(), lengths);
        journal.append(&group).unwrap();
        all.extend(flatten(&[group]));
    }
    assert!(test_dir.segments().len() > 2);
    (test_dir, journal, all)
}

/// Whether a location in a changed log still reads the record; anything else must be damage.
fn unchanged(reader: &Reader, location: &Location, record: &Record) -> bool {
    match reader.read_at(location) {
        Ok(read) => {
            assert_eq!(read, *record);
            true
        }
        Err(LocationError::Journal(JournalError::DamagedRecord { .. })) => false,
        Err(other) => panic!("{other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_record_is_read_by_its_location(
        groups in prop::collection::vec(prop::collection::vec(0usize..900, 1..40), 1..12),
        restarted: bool,
    ) {
        let test_dir = TestDirectory::new();
        let mut journal = test_dir.open().journal;
        let mut all = Vec::new();
        for lengths in groups {
            let group = group(journal.head(), &lengths);
            journal.append(&group).unwrap();
            all.extend(flatten(&[group]));
        }
        let located = locate(&journal.reader());
        if restarted {
            journal.close().unwrap();
            journal = test_dir.open().journal;
        }
        let reader = journal.reader();
        prop_assert_eq!(located.len(), all.len());
        for (located, record) in located.iter().zip(&all).rev() {
            prop_assert_eq!((located.seq(), located.time()), (record.seq(), record.time()));
            prop_assert_eq!(located.meta(), record.meta());
            prop_assert_eq!(located.leaf, record.leaf().0.encode());
            let location = Location::decode(&located.location.encode());
            prop_assert_eq!(location, located.location);
            prop_assert_eq!(&reader.read_at(&location).unwrap(), record);
            prop_assert_eq!((location.seq(), location.time()), (record.seq(), record.time()));
        }
        // Adjacent, in reverse order, and with gaps.
        for (step, descending) in [(1, false), (1, true), (3, false)] {
            let together = located.iter().zip(&all).step_by(step);
            let (mut locations, mut expected): (Vec<_>, Vec<_>) =
                together.map(|(located, record)| (located.location, record.clone())).unzip();
            if descending {
                locations.reverse();
                expected.reverse();
            }
            prop_assert_eq!(reader.read_all_at(&locations).unwrap(), expected);
        }
        prop_assert_eq!(reader.read_all_at(&[]).unwrap(), []);
    }

    #[test]
    fn arbitrary_location_reads_nothing(bytes: [u8; LOCATION_BYTES]) {
        let (_dir, journal, _) = journal_of_several_segments();
        let location = Location::decode(&bytes);
        prop_assert!(journal.reader().read_at(&location).is_err());
    }
}

#[test]
fn location_with_any_byte_changed_reads_nothing() {
    let (_dir, journal, records) = journal_of_several_segments();
    let reader = journal.reader();
    for (located, record) in locate(&reader).iter().zip(&records) {
        let location = located.location.encode();
        assert_eq!(reader.read_at(&located.location).unwrap(), *record);
        for at in 0..LOCATION_BYTES {
            for flip in [1, 0x80, 0xff] {
                let mut changed = location;
                changed[at] ^= flip;
                let read = reader.read_at(&Location::decode(&changed));
                assert!(read.is_err(), "byte {at} of seq {}", record.seq());
            }
        }
    }
}

/// Only the record's own parts are read from its group, and every byte of them is checked; the leaf
/// is recomputed.
#[test]
fn every_changed_byte_of_the_parts_is_detected_and_no_other_byte_matters() {
    let (test_dir, journal, records) = journal_of_several_segments();
    let reader = journal.reader();
    let located = locate(&reader);
    let paths = test_dir.segments();
    // Alone in its group, among others, and at the end of a large group.
    for seq in [1, 3, 125] {
        // The previous record of the same group.
        let before = (seq > 1).then(|| located[seq - 2].location);
        let (located, record) = (&located[seq - 1], &records[seq - 1]);
        let path = paths.iter().find(|path| {
            let bytes = fs::read(path).unwrap();
            bytes.windows(located.leaf.len()).any(|window| window == located.leaf)
        });
        let path = path.unwrap();
        let whole = fs::read(path).unwrap();
        let location = located.location.encode();
        let parts_at = u64::from_be_bytes(location[20..28].try_into().unwrap()) as usize;
        let mut meta = Vec::new();
        record.meta().encode_into(&mut meta);
        let end = parts_at + 40 + meta.len() + record.data().len();
        let is_own = |at: &usize| (parts_at..end).contains(at);
        // Only a sample of the other bytes: each takes a write of the file.
        for at in (104..whole.len()).filter(|at| is_own(at) || at.is_multiple_of(23)) {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            fs::write(path, changed).unwrap();
            let own = is_own(&at);
            assert_eq!(unchanged(&reader, &located.location, record), !own, "seq {seq}, byte {at}");
            let together: Vec<_> = before.into_iter().chain([located.location]).collect();
            assert!(!own || reader.read_all_at(&together).is_err(), "seq {seq}, byte {at}");
        }
        let mut erased = whole.clone();
        erased[parts_at..end].fill(0);
        fs::write(path, erased).unwrap();
        assert!(!unchanged(&reader, &located.location, record));
        fs::write(path, &whole[..end - 1]).unwrap();
        assert!(!unchanged(&reader, &located.location, record));
        if let Some(before) = before {
            // Read together with an intact one, the error still names the damaged one.
            assert_eq!(reader.read_all_at(&[before]).unwrap().len(), 1);
            match reader.read_all_at(&[before, located.location]) {
                Err(LocationError::Journal(JournalError::DamagedRecord { offset, .. })) => {
                    assert_eq!(offset, parts_at as u64);
                }
                other => panic!("{other:?}"),
            }
        }
        fs::write(path, &whole).unwrap();
        assert!(unchanged(&reader, &located.location, record));
    }
}

#[test]
fn location_beyond_the_durable_end_is_refused() {
    let (_dir, mut journal, _) = journal_of_several_segments();
    let head = journal.head();
    let reader = journal.reader();
    journal.append(&group(head, &[10])).unwrap();
    let location = reader.follow(head).next_located(1).unwrap().remove(0).location;
    let (behind, ahead) = (location.encode(), 8 * 1024u64);
    let mut beyond = behind;
    let parts_at = u64::from_be_bytes(behind[20..28].try_into().unwrap());
    beyond[20..28].copy_from_slice(&(parts_at + ahead).to_be_bytes());
    let beyond = reader.read_at(&Location::decode(&beyond));
    assert!(matches!(beyond, Err(LocationError::OutsideLog)), "{beyond:?}");
}

/// A history may be spread over many segments; the number of descriptors stays bounded.
#[test]
fn number_of_open_segment_files_is_bounded() {
    let test_dir = TestDirectory::new();
    let mut journal = test_dir.open().journal;
    while test_dir.segments().len() < 140 {
        let group = group(journal.head(), &[2500]);
        journal.append(&group).unwrap();
    }
    let reader = journal.reader();
    let open = || {
        let here = test_dir.journal().canonicalize().unwrap();
        let descriptors = fs::read_dir("/proc/self/fd").unwrap();
        let targets = descriptors.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
        let segments =
            targets.filter(|target| target.extension().is_some_and(|name| name == "seg"));
        segments.filter(|target| target.starts_with(&here)).count()
    };
    let before = open();
    let located = locate(&reader);
    assert_eq!(open(), before, "a follower at the head shares the writer's file");
    for _ in 0..2 {
        for located in &located {
            let read = reader.read_at(&located.location).unwrap();
            assert_eq!(read, *record(located.seq(), 2500));
        }
    }
    assert_eq!(open(), before + 128);
}

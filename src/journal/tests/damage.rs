//! Files that were changed while the journal was closed.

use std::fs;

use crate::journal::tests::*;

type Tamper = fn(&TestDirectory);

/// Five groups in three segments: 1 and 2, 3 and 4, 5.
fn three_segments() -> TestDirectory {
    let test_dir =
        TestDirectory::with_groups(&[&[1000, 10], &[1500], &[1600], &[1000, 10], &[700]]);
    assert_eq!(test_dir.segments().len(), 3);
    test_dir
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn swap_files(a: &Path, b: &Path) {
    let (in_a, in_b) = (fs::read(a).unwrap(), fs::read(b).unwrap());
    fs::write(a, in_b).unwrap();
    fs::write(b, in_a).unwrap();
}

/// The byte ranges of a segment's frames.
fn frames(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut at = 104;
    let mut frames = Vec::new();
    while bytes[at] != 0 {
        let len = u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap()) as usize;
        frames.push(at..at + len);
        at += len;
    }
    frames
}

/// A name, the change, the index of the segment that the error names, the last good seq, and a part
/// of the error's text.
const DAMAGES: [(&str, Tamper, usize, Seq, &str); 16] = [
    (
        "the first segment is truncated",
        |s| edit(&s.segments()[0], |b| b.truncate(2000)),
        0,
        0,
        "the file has 2000 bytes, but its header states 4096",
    ),
    (
        "the last segment is truncated",
        |s| edit(&s.segments()[2], |b| b.truncate(4000)),
        2,
        6,
        "the file has 4000 bytes",
    ),
    (
        "the last segment is empty",
        |s| edit(&s.segments()[2], Vec::clear),
        2,
        6,
        "within the segment's header",
    ),
    (
        "a segment has grown",
        |s| edit(&s.segments()[1], |b| b.extend([0; 8])),
        1,
        3,
        "the file has 4104 bytes",
    ),
    (
        "a bit of a middle frame is flipped",
        |s| edit(&s.segments()[1], |b| b[1000] ^= 4),
        1,
        3,
        "the checksum of the data of seq 4 differs, and a later segment follows",
    ),
    (
        "a bit of the frame before the last is flipped",
        |s| {
            edit(&s.segments()[1], |b| {
                let last = frames(b).pop().unwrap();
                b[last.start + 100] ^= 128;
            });
        },
        1,
        4,
        "header and leaves differs, and a later segment follows",
    ),
    (
        "a frame is zeroed",
        |s| {
            edit(&s.segments()[0], |b| {
                let first = frames(b)[0].clone();
                b[first].fill(0);
            });
        },
        0,
        0,
        "no group begins here",
    ),
    (
        "the last frame is zeroed",
        |s| edit(&s.segments()[2], |b| b[104..].fill(0)),
        2,
        6,
        "the log ends here, but the watermark shows that seq 7",
    ),
    (
        "the last frame of a middle segment is zeroed",
        |s| {
            edit(&s.segments()[1], |b| {
                let last = frames(b)[1].clone();
                b[last].fill(0);
            });
        },
        2,
        4,
        "continues with seq 7 in group 5, but the log before it ends with seq 4",
    ),
    (
        "two segments are swapped",
        |s| swap_files(&s.segments()[0], &s.segments()[1]),
        0,
        0,
        "its name states 1",
    ),
    (
        "two frames are swapped",
        |s| {
            edit(&s.segments()[1], |b| {
                let (first, second) = (frames(b)[0].clone(), frames(b)[1].clone());
                let swapped = [&b[second.clone()], &b[first.clone()]].concat();
                b[first.start..second.end].copy_from_slice(&swapped);
            });
        },
        1,
        3,
        "found group 4 with seq 5, expected group 3 with seq 4",
    ),
    (
        "a frame is duplicated",
        |s| {
            edit(&s.segments()[2], |b| {
                let first = frames(b)[0].clone();
                let copy = b[first.clone()].to_vec();
                b[first.end..first.end + copy.len()].copy_from_slice(&copy);
            });
        },
        2,
        7,
        "found group 5 with seq 7, expected group 6 with seq 8",
    ),
    (
        "the first segment is deleted",
        |s| fs::remove_file(&s.segments()[0]).unwrap(),
        0,
        0,
        "this is segment 2, but segment 1 is expected here",
    ),
    (
        "a middle segment is deleted",
        |s| fs::remove_file(&s.segments()[1]).unwrap(),
        1,
        3,
        "this is segment 3, but segment 2 is expected here",
    ),
    (
        "the last segment is deleted",
        |s| fs::remove_file(&s.segments()[2]).unwrap(),
        1,
        6,
        "the log ends here, but the watermark shows that seq 7",
    ),
    (
        "a header bit is flipped",
        |s| edit(&s.segments()[1], |b| b[70] ^= 1),
        1,
        3,
        "the segment's header is corrupt",
    ),
];

#[test]
fn every_damage_is_refused_with_its_location_and_nothing_is_changed() {
    for (done, change, segment, last_good_seq, what) in DAMAGES {
        let test_dir = three_segments();
        change(&test_dir);
        let refused = test_dir.refused(0);
        assert_eq!(refused.file, test_dir.segments()[segment], "{done}: {refused:?}");
        assert_eq!(refused.last_good_seq, last_good_seq, "{done}: {refused:?}");
        assert!(refused.what.contains(what), "{done}: {refused:?}");
    }
}

#[test]
fn log_without_segments_is_refused() {
    let test_dir = three_segments();
    for segment in test_dir.segments() {
        fs::remove_file(segment).unwrap();
    }
    assert_eq!(test_dir.refused(0).what, "there is no segment");
}

#[test]
fn older_copy_of_a_segment_is_refused() {
    let test_dir = TestDirectory::with_groups(&[&[1000, 10], &[900]]);
    let older = fs::read(&test_dir.segments()[0]).unwrap();
    let mut journal = test_dir.open().journal;
    journal.append(&group(3, &[1000])).unwrap();
    journal.close().unwrap();
    let newer = fs::read(&test_dir.segments()[0]).unwrap();
    fs::write(&test_dir.segments()[0], &older).unwrap();
    assert_eq!(test_dir.refused(0).last_good_seq, 3);

    fs::write(&test_dir.segments()[0], newer).unwrap();
    let mut journal = test_dir.open().journal;
    journal.append(&group(4, &[1000])).unwrap();
    journal.close().unwrap();
    assert_eq!(test_dir.segments().len(), 2);
    fs::write(&test_dir.segments()[0], older).unwrap();
    let refused = test_dir.refused(0);
    assert_eq!((refused.file, refused.last_good_seq), (test_dir.segments()[1].clone(), 3));
}

#[test]
fn segment_or_frame_of_another_log_is_refused() {
    let (test_dir, other) = (three_segments(), other_log());
    let ours = fs::read(&test_dir.segments()[2]).unwrap();
    fs::copy(&other.segments()[2], &test_dir.segments()[2]).unwrap();
    assert!(test_dir.refused(0).what.contains("belongs to another log"));

    let mut mixed = fs::read(&other.segments()[2]).unwrap();
    mixed[..104].copy_from_slice(&ours[..104]);
    fs::write(&test_dir.segments()[2], mixed).unwrap();
    assert!(test_dir.refused(0).what.contains("header and leaves differs"));
}

fn other_log() -> TestDirectory {
    three_segments()
}

#[test]
fn stale_watermark_is_accepted_and_a_watermark_ahead_of_the_log_is_refused() {
    let test_dir = TestDirectory::with_groups(&[&[1000, 10]]);
    let stale = fs::read(test_dir.watermark()).unwrap();
    let mut journal = test_dir.open().journal;
    journal.append(&group(2, &[100])).unwrap();
    journal.close().unwrap();
    let ahead = fs::read(test_dir.watermark()).unwrap();
    fs::write(test_dir.watermark(), &stale).unwrap();
    assert_eq!(test_dir.open().records.len(), 3);

    fs::write(test_dir.watermark(), &ahead).unwrap();
    edit(&test_dir.segments()[0], |bytes| {
        let last = frames(bytes).pop().unwrap();
        bytes[last].fill(0);
    });
    assert!(test_dir.refused(0).what.contains("the watermark shows that seq 3 was durable"));
}

/// A power cut lost the watermark, and the disk lost the end of the second to last group and the
/// start of the last one. The rest of the last group shows that the one before was complete once.
#[test]
fn bytes_behind_a_broken_group_show_that_it_was_synced() {
    let test_dir = TestDirectory::with_groups(&[&[300], &[300], &[300]]);
    edit(&test_dir.segments()[0], |bytes| {
        let frames = frames(bytes);
        bytes[frames[1].start + 200..frames[2].start + 200].fill(0);
    });
    fs::remove_file(test_dir.watermark()).unwrap();
    let refused = test_dir.refused(0);
    assert_eq!(refused.last_good_seq, 1, "{refused:?}");
    assert!(refused.what.contains("bytes were written behind it, at byte"), "{refused:?}");
}

/// Two directories with one identity and different histories: a copy that was appended to.
#[test]
fn watermark_of_another_history_is_refused() {
    let test_dir = TestDirectory::with_groups(&[&[100]]);
    let before = test_dir.contents();
    let mut journal = test_dir.open().journal;
    journal.append(&group(1, &[100])).unwrap();
    journal.close().unwrap();
    let watermark = fs::read(test_dir.watermark()).unwrap();
    for (name, bytes) in before {
        fs::write(test_dir.journal().join(name), bytes).unwrap();
    }
    let mut journal = test_dir.open().journal;
    journal.append(&group(1, &[101])).unwrap();
    journal.close().unwrap();
    fs::write(test_dir.watermark(), watermark).unwrap();
    assert!(test_dir.refused(0).what.contains("was written for a different group 2"));
}

/// The format allows erasing a part with its salt; this version never does, so it reports damage.
#[test]
fn erased_part_is_refused_with_its_own_message() {
    let test_dir = TestDirectory::with_groups(&[&[100], &[50]]);
    edit(&test_dir.segments()[0], |bytes| {
        let (first, data_part) = (frames(bytes)[0].clone(), 20 + 102);
        let padding = bytes[first.clone()].iter().rev().take_while(|byte| **byte == 0).count();
        let end = first.end - padding;
        bytes[end - data_part..end].fill(0);
    });
    let refused = test_dir.refused(0);
    assert_eq!(refused.what, "the data of seq 1 is all zeros, and group 2 follows at byte 448");
}

/// Zeroes every byte and every aligned block of 8 and 64 bytes, and flips one bit of every byte.
#[test]
fn every_changed_byte_of_a_small_journal_is_detected() {
    let test_dir = TestDirectory::with_groups(&[&[20, 0], &[7], &[3]]);
    let segment = &test_dir.segments()[0];
    let whole = fs::read(segment).unwrap();
    let used = frames(&whole).pop().unwrap().end;
    let assert_detected = |bytes: &[u8], what: &str| {
        if bytes != whole {
            fs::write(segment, bytes).unwrap();
            assert!(matches!(test_dir.try_open(0), Err(JournalError::Damage { .. })), "{what}");
        }
    };
    for at in 0..used {
        let mut bytes = whole.clone();
        bytes[at] = 0;
        assert_detected(&bytes, &format!("byte {at} is zero"));
        bytes[at] = whole[at] ^ (1 << (at % 8));
        assert_detected(&bytes, &format!("bit {} of byte {at} is flipped", at % 8));
    }
    for width in [8, 64] {
        for at in (0..used).step_by(width) {
            let mut bytes = whole.clone();
            bytes[at..at + width].fill(0);
            assert_detected(&bytes, &format!("{width} bytes at {at} are zero"));
        }
    }
    fs::write(segment, &whole).unwrap();
    assert_eq!(test_dir.open().records.len(), 4);
}

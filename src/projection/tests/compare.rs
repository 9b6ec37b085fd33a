//! The comparison of a projection with the log: every entry counts.

use std::collections::BTreeSet;

use crate::projection::read::compare::{Comparison, compare, position};
use crate::projection::store::keys::{HISTORY, IDS};
use crate::projection::tests::*;

fn compare_world(world: &ProjectionWorld) -> Comparison {
    let mut reported = 0;
    let reader = world.journal.reader();
    let comparison =
        compare(&world.dir(), world.data_dir.log_id(), 8 << 20, &reader, |seq| reported = seq);
    let comparison = comparison.unwrap();
    if let Comparison::Same(applied) = comparison {
        assert_eq!(reported, applied.seq);
    }
    comparison
}

#[track_caller]
fn assert_differs(world: &ProjectionWorld, why: &str) -> Option<Seq> {
    match compare_world(world) {
        Comparison::Differs { record, .. } => record.map(|record| record.seq()),
        other => panic!("{why}: {other:?}"),
    }
}

#[test]
fn projection_equals_the_log_up_to_its_applied_position() {
    let mut world = ProjectionWorld::with_records(300);
    assert_eq!(compare_world(&world), Comparison::Absent);
    world.run_once();
    let Comparison::Same(applied) = compare_world(&world) else { panic!("it has to be the same") };
    assert_eq!((applied.seq, applied.chain), (300, world.chains[300]));
    assert_eq!(position(&world.dir(), world.data_dir.log_id(), 8 << 20), Comparison::Same(applied));
    world.append(&[(identity("event.1", None), b"1".to_vec())]);
    assert_eq!(
        compare_world(&world),
        Comparison::Same(applied),
        "a projection that is behind does not differ"
    );
    assert_eq!(world.quarantined(), [""; 0], "nothing is quarantined");
}

#[test]
fn every_missing_changed_or_extra_entry_is_found() {
    let mut world = ProjectionWorld::with_records(20);
    world.append(&vec![(identity("event.1", None), b"1".to_vec()); 18]);
    world.run_once();
    let entries = tamper(&world, |db| db.iter().collect::<Result<Vec<_>, _>>().unwrap());
    let kinds: BTreeSet<_> = entries.iter().map(|(key, _)| key[0]).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), *b"ahin", "there are entries of every kind");
    let mut with_record = 0;
    for (i, (key, value)) in entries.iter().enumerate() {
        let mut other = value.to_vec();
        let bit = i * 7 % (other.len() * 8);
        other[bit / 8] ^= 1 << (bit % 8);
        tamper(&world, |db| db.insert(key, other).unwrap());
        with_record +=
            u32::from(assert_differs(&world, &format!("changed: {key:?} bit {bit}")).is_some());
        if i % 4 == 0 || key[0] == HISTORY {
            tamper(&world, |db| db.remove(key).unwrap());
            assert_differs(&world, &format!("removed: {key:?}"));
        }
        tamper(&world, |db| db.insert(key, value).unwrap());
    }
    let of_records = entries.iter().filter(|(key, _)| [HISTORY, IDS].contains(&key[0]));
    assert_eq!(with_record as usize, of_records.count());
    for (key, value) in entries.iter().filter(|(key, _)| key.len() > 1).step_by(9) {
        let mut more = key.to_vec();
        *more.last_mut().unwrap() ^= 0x40;
        if tamper(&world, |db| db.contains_key(&more).unwrap()) {
            continue;
        }
        tamper(&world, |db| db.insert(&more, value).unwrap());
        assert_differs(&world, &format!("extra: {more:?}"));
        tamper(&world, |db| db.remove(&more).unwrap());
    }
    assert!(matches!(compare_world(&world), Comparison::Same(_)), "every change was undone");
}

#[test]
fn projection_of_another_log_differs_and_one_ahead_of_the_log_is_reported() {
    let (mut world, other) = (ProjectionWorld::with_records(30), ProjectionWorld::with_records(30));
    other.run_once();
    copy(&other.dir(), &world.dir());
    assert_differs(&world, "of another log");
    fs::remove_dir_all(world.dir()).unwrap();
    world.run_once();
    let reader = ProjectionWorld::with_records(20).journal.reader();
    let log = world.data_dir.log_id();
    let ahead = compare(&world.dir(), log, 8 << 20, &reader, |_| {}).unwrap();
    let Comparison::Ahead(what) = ahead else { panic!("{ahead:?}") };
    assert!(what.contains("missing from the log"), "{what}");
    world.append(&[(identity("event.1", None), b"1".to_vec())]);
    fs::write(world.dir().join("note"), "foreign").unwrap();
    assert!(matches!(compare_world(&world), Comparison::Same(_)));
}

/// Regression: sled was still closing a store that had just been rebuilt, and the comparison
/// reported a difference.
#[test]
fn projection_in_use_is_held_rather_than_different() {
    let world = ProjectionWorld::with_records(30);
    world.run_once();
    let data_file = fs::File::open(world.store().join("db")).unwrap();
    data_file.lock().unwrap();
    assert_eq!(compare_world(&world), Comparison::Held);
    data_file.unlock().unwrap();
    assert!(matches!(compare_world(&world), Comparison::Same(_)));
}

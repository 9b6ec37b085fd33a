//! What an operator is told of a projection: every entry counts.

use std::sync::mpsc;

use crate::projection::read::compare::{Comparison, compare, position};
use crate::projection::store::Store;
use crate::projection::store::keys::{HISTORY, IDS};
use crate::projection::tests::*;

fn compared(world: &ProjectionWorld) -> Comparison {
    let mut told = 0;
    let reader = world.journal.reader();
    let said = compare(&world.dir(), world.data_dir.log_id(), 8 << 20, &reader, |seq| told = seq);
    let said = said.unwrap();
    if let Comparison::Same(applied) = said {
        assert_eq!(told, applied.seq);
    }
    said
}

#[track_caller]
fn differs(world: &ProjectionWorld, why: &str) -> Option<Seq> {
    match compared(world) {
        Comparison::Differs { record, .. } => record.map(|record| record.seq()),
        other => panic!("{why}: {other:?}"),
    }
}

/// Opens sled on a closed store and changes it behind the projection's back.
fn meddle<T>(world: &ProjectionWorld, change: impl FnOnce(&sled::Db) -> T) -> T {
    let (alive, closed) = mpsc::channel();
    let store = Store::open(&world.store(), 8 << 20, alive).unwrap();
    let changed = change(store.db());
    drop(store);
    closed.recv_timeout(PATIENCE).unwrap_err();
    changed
}

#[test]
fn a_projection_is_the_same_as_far_as_it_was_applied() {
    let mut world = ProjectionWorld::with_records(300);
    assert_eq!(compared(&world), Comparison::Absent);
    world.project();
    let Comparison::Same(applied) = compared(&world) else { panic!("it is the same") };
    assert_eq!((applied.seq, applied.chain), (300, world.chains[300]));
    assert_eq!(position(&world.dir(), world.data_dir.log_id(), 8 << 20), Comparison::Same(applied));
    world.append(&[(identity("event.1", None), b"1".to_vec())]);
    assert_eq!(compared(&world), Comparison::Same(applied), "behind is not another");
    assert_eq!(world.asides(), [""; 0], "nothing is moved");
}

#[test]
fn every_entry_that_is_missing_changed_or_too_much_is_found() {
    let mut world = ProjectionWorld::with_records(20);
    world.append(&vec![(identity("event.1", None), b"1".to_vec()); 18]);
    world.project();
    let entries = meddle(&world, |db| db.iter().collect::<Result<Vec<_>, _>>().unwrap());
    let kinds = BTreeMap::from_iter(entries.iter().map(|(key, _)| (key[0], ())));
    assert_eq!(kinds.into_keys().collect::<Vec<_>>(), *b"ahin", "every kind");
    let mut named = 0;
    for (i, (key, value)) in entries.iter().enumerate() {
        let mut other = value.to_vec();
        let bit = i * 7 % (other.len() * 8);
        other[bit / 8] ^= 1 << (bit % 8);
        meddle(&world, |db| db.insert(key, other).unwrap());
        named += u32::from(differs(&world, &format!("changed: {key:?} bit {bit}")).is_some());
        if i % 4 == 0 || key[0] == HISTORY {
            meddle(&world, |db| db.remove(key).unwrap());
            differs(&world, &format!("removed: {key:?}"));
        }
        meddle(&world, |db| db.insert(key, value).unwrap());
    }
    let about_one = entries.iter().filter(|(key, _)| [HISTORY, IDS].contains(&key[0]));
    assert_eq!(named as usize, about_one.count());
    for (key, value) in entries.iter().filter(|(key, _)| key.len() > 1).step_by(9) {
        let mut more = key.to_vec();
        *more.last_mut().unwrap() ^= 0x40;
        if meddle(&world, |db| db.contains_key(&more).unwrap()) {
            continue;
        }
        meddle(&world, |db| db.insert(&more, value).unwrap());
        differs(&world, &format!("too much: {more:?}"));
        meddle(&world, |db| db.remove(&more).unwrap());
    }
    assert!(matches!(compared(&world), Comparison::Same(_)), "it was put back");
}

#[test]
fn another_logs_projection_and_one_that_is_ahead_are_found() {
    let (mut world, other) = (ProjectionWorld::with_records(30), ProjectionWorld::with_records(30));
    other.project();
    copy(&other.dir(), &world.dir());
    differs(&world, "another log's");
    fs::remove_dir_all(world.dir()).unwrap();
    world.project();
    let reader = ProjectionWorld::with_records(20).journal.reader();
    let log = world.data_dir.log_id();
    let ahead = compare(&world.dir(), log, 8 << 20, &reader, |_| {}).unwrap();
    let Comparison::Ahead(what) = ahead else { panic!("{ahead:?}") };
    assert!(what.contains("missing from the log"), "{what}");
    world.append(&[(identity("event.1", None), b"1".to_vec())]);
    fs::write(world.dir().join("note"), "somebody's").unwrap();
    assert!(matches!(compared(&world), Comparison::Same(_)));
}

/// sled was still closing what a rebuild had built, and that was called a difference.
#[test]
fn a_projection_that_is_in_use_is_no_different_one() {
    let world = ProjectionWorld::with_records(30);
    world.project();
    let data_file = fs::File::open(world.store().join("db")).unwrap();
    data_file.lock().unwrap();
    assert_eq!(compared(&world), Comparison::Held);
    data_file.unlock().unwrap();
    assert!(matches!(compared(&world), Comparison::Same(_)));
}

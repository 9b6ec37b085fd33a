//! The id index: which ids it holds, and when it is known to be complete.

use std::sync::mpsc;

use crate::journal::LocatedRecord;
use crate::projection::follow::apply;
use crate::projection::follow::pointers::Pointers;
use crate::projection::open::scrub;
use crate::projection::open::scrub::IdScrub;
use crate::projection::store::position::Applied;
use crate::projection::store::{Store, keys};
use crate::projection::tests::*;

fn located(world: &ProjectionWorld) -> Vec<LocatedRecord> {
    let mut follower = world.journal.reader().follow(0);
    let mut all = Vec::new();
    while follower.position() < world.head() {
        all.extend(follower.next_located(1 << 20).unwrap());
    }
    all
}

fn scan_all(scrub: &mut IdScrub, store: &Store, applied: &Applied) -> bool {
    loop {
        match scrub.scan_slice(store, applied) {
            Ok(true) => return true,
            Ok(false) => {}
            Err(_) => return false,
        }
    }
}

/// Steps write ids before and behind the position of the scan.
#[test]
fn id_scrub_interleaved_with_steps_matches_the_position() {
    let world = ProjectionWorld::with_records(24_000);
    let log_id = world.data_dir.log_id();
    let store = Store::open(&world.store(), 8 << 20, mpsc::channel().0).unwrap();
    let records = located(&world);
    let (before, during) = records.split_at(18_000);
    let (mut applied, mut pointers) = (Applied::default(), Pointers::default());
    for records in before.chunks(1_000) {
        applied = apply::step(&store, &mut pointers, log_id, applied, records).unwrap();
    }
    let (mut scrub, mut slices) = (IdScrub::new(), 0);
    for records in during.chunks(3_000) {
        assert!(!scrub.scan_slice(&store, &applied).unwrap());
        applied = apply::step(&store, &mut pointers, log_id, applied, records).unwrap();
        scrub.note_step(records);
        slices += 1;
    }
    assert_eq!(slices, 2);
    assert!(scan_all(&mut scrub, &store, &applied));
    assert_eq!(scrub::verify(&store, log_id).unwrap(), Some(applied));
}

#[test]
fn id_scrub_finds_missing_extra_and_changed_ids() {
    let world = ProjectionWorld::with_records(200);
    let store = Store::open(&world.store(), 8 << 20, mpsc::channel().0).unwrap();
    let records = located(&world);
    let log_id = world.data_dir.log_id();
    let pointers = &mut Pointers::default();
    let applied = apply::step(&store, pointers, log_id, Applied::default(), &records).unwrap();
    let entries: Vec<_> = records.iter().filter_map(keys::id_entry).collect();
    let (key, value) = &entries[7];
    let is_complete = || scan_all(&mut IdScrub::new(), &store, &applied);
    assert!(is_complete());
    store.db().remove(key).unwrap();
    assert!(!is_complete());
    put(&store, key, &entries[8].1);
    assert!(!is_complete());
    put(&store, key, value);
    assert!(is_complete());
    put(&store, &keys::id_key(&Uuid::from_u128(5)), value);
    assert!(!is_complete());
}

/// Until the store has caught up with the head at the open, no other memory holds the ids of the
/// records in between.
#[test]
fn no_id_is_absent_while_a_stale_store_catches_up() {
    let mut world = ProjectionWorld::with_records(10);
    world.run_once();
    // Read in several portions, with time for a slice of the scrub after each.
    let late = (identity("late", None), vec![b'1'; 1_000]);
    let late = vec![late; 12_000];
    world.append(&late);
    let handle = world.start();
    let records = &world.model[&identity("late", None)];
    let last = records.iter().rev().find(|record| !id_encodes_location(record.seq())).unwrap();
    let (mut waited, mut found) = (0, false);
    let status = handle.status();
    retry_on_change(status, || {
        match handle.by_id(&last.id()) {
            Ok(IdLookup::Absent) => panic!("the id is reported absent"),
            Ok(IdLookup::Found(record)) => found = record == *last,
            Ok(IdLookup::NotYet) => waited += 1,
            Err(unavailable) => assert_eq!(unavailable, Unavailable::Rebuilding),
        }
        found
    });
    assert!(waited > 0);
    world.wait_settled(&handle);
    assert_eq!(handle.by_id(&Uuid::nil()), Ok(IdLookup::Absent));
    handle.close();
}

/// An id that encodes its location has no entry, and one that only looks like that has one.
#[test]
fn only_ids_that_do_not_encode_their_location_have_an_entry() {
    let world = ProjectionWorld::with_records(50);
    let handle = world.start();
    world.wait_settled(&handle);
    let (mut encoded, mut lookalike) = (0, 0);
    for record in world.model.values().flatten() {
        let found = handle.by_id(&record.id()).unwrap();
        if id_encodes_location(record.seq()) {
            assert_eq!(found, IdLookup::Absent);
            encoded += 1;
        } else {
            assert_eq!(found, IdLookup::Found(record.clone()));
            lookalike += usize::from(record.id().get_version_num() == 7);
        }
    }
    assert!(encoded > 10 && lookalike > 2, "{encoded}, {lookalike}");
    handle.close();
}

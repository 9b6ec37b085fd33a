//! A full disk: the projection waits for space, and loses nothing.

use std::io::ErrorKind;

use crate::projection::store::faults;
use crate::projection::store::faults::Call;
use crate::projection::tests::*;

/// Closes, and sees that everything is right without a store set aside.
fn healed(world: &ProjectionWorld, handle: ProjectionHandle) {
    world.settled(&handle);
    assert!(world.all_right(&handle));
    handle.close();
    assert_eq!(world.open().applied().unwrap().seq, world.head());
    assert!(world.asides().is_empty());
}

#[test]
fn no_space_to_apply_heals_in_the_same_store() {
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge] {
        let mut world = ProjectionWorld::with_records(300);
        let handle = world.start();
        world.settled(&handle);
        faults::set(&world.dir(), Call::Apply, 2, kind);
        world.append(&[(identity("late", None), b"1".to_vec())]);
        until(&handle, |status| status.phase == FollowPhase::Opening && status.applied == 300);
        assert_eq!(handle.state(), ProjectionState::Opening { applied: 300, head: 301 });
        assert_eq!(handle.latest(&identity("late", None)), Err(Unavailable::Opening));
        until(&handle, |status| {
            assert!(status.applied >= 300, "{status:?}");
            status.applied == 301
        });
        assert_eq!(faults::left(&world.dir(), Call::Apply), 0);
        healed(&world, handle);
        assert!(world.store().exists());
    }
}

#[test]
fn no_space_long_after_a_rebuild_is_no_loss() {
    let mut world = ProjectionWorld::with_records(300);
    let handle = world.start();
    world.settled(&handle);
    world.append(&[(identity("late", None), b"1".to_vec())]);
    world.settled(&handle);
    faults::set(&world.dir(), Call::Apply, 1, ErrorKind::StorageFull);
    world.append(&[(identity("late", None), b"2".to_vec())]);
    healed(&world, handle);
}

#[test]
fn no_space_to_open_again_is_waited_for() {
    let mut world = ProjectionWorld::with_records(300);
    let handle = world.start();
    world.settled(&handle);
    faults::set(&world.dir(), Call::Apply, 1, ErrorKind::StorageFull);
    faults::set(&world.dir(), Call::Open, 1, ErrorKind::StorageFull);
    world.append(&[(identity("late", None), b"1".to_vec())]);
    block_on(handle.reached(301, PATIENCE)).unwrap();
    assert_eq!(faults::left(&world.dir(), Call::Open), 0);
    healed(&world, handle);
}

#[test]
fn no_space_at_the_start_is_waited_for() {
    let world = ProjectionWorld::with_records(300);
    world.project();
    faults::set(&world.dir(), Call::Open, 1, ErrorKind::StorageFull);
    let handle = world.start();
    healed(&world, handle);
    assert!(world.store().exists());
}

#[test]
fn no_space_to_create_a_store_is_waited_for() {
    let world = ProjectionWorld::with_records(300);
    faults::set(&world.dir(), Call::Open, 1, ErrorKind::QuotaExceeded);
    let handle = world.start();
    healed(&world, handle);
    assert!(!world.store().exists(), "what was left of it is gone");
}

#[test]
fn no_space_in_a_rebuild_is_waited_for() {
    let world = ProjectionWorld::with_records(2_500);
    faults::set(&world.dir(), Call::Apply, 1, ErrorKind::StorageFull);
    let handle = world.start();
    healed(&world, handle);
}

#[test]
fn no_space_for_the_store_after_one_in_doubt_sets_one_aside() {
    let world = ProjectionWorld::with_records(300);
    world.project();
    let projection = world.open();
    faults::set(&world.dir(), Call::Open, 1, ErrorKind::StorageFull);
    let handle = projection.start(world.journal.reader(), false).unwrap();
    world.settled(&handle);
    assert!(world.all_right(&handle));
    handle.close();
    assert_eq!(world.asides(), ["projection.quarantined-1"]);
}

#[test]
fn a_store_that_changed_while_there_was_no_space_is_in_doubt() {
    let mut world = ProjectionWorld::with_records(300);
    let handle = world.start();
    world.settled(&handle);
    faults::set(&world.dir(), Call::Apply, 1, ErrorKind::StorageFull);
    let chain = world.chains[100];
    let applied =
        crate::projection::store::position::Applied { seq: 300, chain, ..Default::default() };
    let value = applied.encode(world.data_dir.log_id());
    let applied = (crate::projection::store::keys::APPLIED.to_vec(), value);
    // The store tells the right position with a chain of other records.
    let store = handle.shared().readable().unwrap();
    store.db().insert(applied.0, applied.1).unwrap();
    drop(store);
    world.append(&[(identity("late", None), b"1".to_vec())]);
    until(&handle, |status| status.applied == 301);
    world.settled(&handle);
    assert!(world.all_right(&handle));
    handle.close();
    assert_eq!(world.asides(), ["projection.quarantined-1"]);
}

#[test]
fn other_faults_of_a_new_store_are_final() {
    let world = ProjectionWorld::with_records(10);
    faults::set(&world.dir(), Call::Open, 1, ErrorKind::PermissionDenied);
    let handle = world.start();
    until(&handle, |status| matches!(status.phase, FollowPhase::Failed(_)));
    handle.close();
}

#[test]
fn closing_ends_the_wait_for_space() {
    let mut world = ProjectionWorld::with_records(10);
    let handle = world.start();
    world.settled(&handle);
    faults::set(&world.dir(), Call::Apply, u32::MAX, ErrorKind::StorageFull);
    world.append(&[(identity("late", None), b"1".to_vec())]);
    until(&handle, |status| status.phase == FollowPhase::Opening);
    handle.clone().close();
    assert_eq!(handle.state(), ProjectionState::Closed);
    assert!(world.asides().is_empty());
}

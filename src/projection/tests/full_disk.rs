//! A full disk: the projection waits for space and loses nothing.

use std::io::ErrorKind;

use crate::projection::store::faults;
use crate::projection::store::faults::Call;
use crate::projection::tests::*;

/// Waits until everything is right, closes, and checks that no store was quarantined.
fn assert_recovered_in_place(world: &ProjectionWorld, handle: ProjectionHandle) {
    world.wait_settled(&handle);
    assert!(world.check_reads(&handle));
    handle.close();
    assert_eq!(world.open().applied().unwrap().seq, world.head());
    assert!(world.quarantined().is_empty());
}

#[test]
fn apply_without_space_recovers_in_the_same_store() {
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge] {
        let mut world = ProjectionWorld::with_records(300);
        let handle = world.start();
        world.wait_settled(&handle);
        faults::set(&world.dir(), Call::Apply, 2, kind);
        world.append(&[(identity("late", None), b"1".to_vec())]);
        wait_for_status(&handle, |status| {
            status.phase == FollowPhase::Opening && status.applied == 300
        });
        assert_eq!(handle.state(), ProjectionState::Opening { applied: 300, head: 301 });
        assert_eq!(handle.latest(&identity("late", None)), Err(Unavailable::Opening));
        wait_for_status(&handle, |status| {
            assert!(status.applied >= 300, "{status:?}");
            status.applied == 301
        });
        assert_eq!(faults::left(&world.dir(), Call::Apply), 0);
        assert_recovered_in_place(&world, handle);
        assert!(world.store().exists());
    }
}

#[test]
fn full_disk_long_after_a_rebuild_keeps_the_store() {
    let mut world = ProjectionWorld::with_records(300);
    let handle = world.start();
    world.wait_settled(&handle);
    world.append(&[(identity("late", None), b"1".to_vec())]);
    world.wait_settled(&handle);
    faults::set(&world.dir(), Call::Apply, 1, ErrorKind::StorageFull);
    world.append(&[(identity("late", None), b"2".to_vec())]);
    assert_recovered_in_place(&world, handle);
}

#[test]
fn reopen_waits_for_space() {
    let mut world = ProjectionWorld::with_records(300);
    let handle = world.start();
    world.wait_settled(&handle);
    faults::set(&world.dir(), Call::Apply, 1, ErrorKind::StorageFull);
    faults::set(&world.dir(), Call::Open, 1, ErrorKind::StorageFull);
    world.append(&[(identity("late", None), b"1".to_vec())]);
    block_on(handle.reached(301, TIMEOUT)).unwrap();
    assert_eq!(faults::left(&world.dir(), Call::Open), 0);
    assert_recovered_in_place(&world, handle);
}

#[test]
fn start_waits_for_space() {
    let world = ProjectionWorld::with_records(300);
    world.run_once();
    faults::set(&world.dir(), Call::Open, 1, ErrorKind::StorageFull);
    let handle = world.start();
    assert_recovered_in_place(&world, handle);
    assert!(world.store().exists());
}

#[test]
fn store_creation_waits_for_space() {
    let world = ProjectionWorld::with_records(300);
    faults::set(&world.dir(), Call::Open, 1, ErrorKind::QuotaExceeded);
    let handle = world.start();
    assert_recovered_in_place(&world, handle);
    assert!(!world.store().exists(), "the unfinished store is removed");
}

#[test]
fn rebuild_waits_for_space() {
    let world = ProjectionWorld::with_records(2_500);
    faults::set(&world.dir(), Call::Apply, 1, ErrorKind::StorageFull);
    let handle = world.start();
    assert_recovered_in_place(&world, handle);
}

#[test]
fn full_disk_while_replacing_an_invalid_store_quarantines_only_that_one() {
    let world = ProjectionWorld::with_records(300);
    world.run_once();
    let projection = world.open();
    faults::set(&world.dir(), Call::Open, 1, ErrorKind::StorageFull);
    let handle = projection.start(world.journal.reader(), false).unwrap();
    world.wait_settled(&handle);
    assert!(world.check_reads(&handle));
    handle.close();
    assert_eq!(world.quarantined(), ["projection.quarantined-1"]);
}

#[test]
fn store_changed_while_the_disk_was_full_is_quarantined() {
    let mut world = ProjectionWorld::with_records(300);
    let handle = world.start();
    world.wait_settled(&handle);
    faults::set(&world.dir(), Call::Apply, 1, ErrorKind::StorageFull);
    let chain = world.chains[100];
    let applied =
        crate::projection::store::position::Applied { seq: 300, chain, ..Default::default() };
    let value = applied.encode(world.data_dir.log_id());
    let applied = (crate::projection::store::keys::APPLIED.to_vec(), value);
    // The store holds the right position with the chain of other records.
    let store = handle.shared().readable().unwrap();
    store.db().insert(applied.0, applied.1).unwrap();
    drop(store);
    world.append(&[(identity("late", None), b"1".to_vec())]);
    wait_for_status(&handle, |status| status.applied == 301);
    world.wait_settled(&handle);
    assert!(world.check_reads(&handle));
    handle.close();
    assert_eq!(world.quarantined(), ["projection.quarantined-1"]);
}

#[test]
fn other_faults_of_a_new_store_fail_the_projection() {
    let world = ProjectionWorld::with_records(10);
    faults::set(&world.dir(), Call::Open, 1, ErrorKind::PermissionDenied);
    let handle = world.start();
    wait_for_status(&handle, |status| matches!(status.phase, FollowPhase::Failed(_)));
    handle.close();
}

#[test]
fn closing_ends_the_wait_for_space() {
    let mut world = ProjectionWorld::with_records(10);
    let handle = world.start();
    world.wait_settled(&handle);
    faults::set(&world.dir(), Call::Apply, u32::MAX, ErrorKind::StorageFull);
    world.append(&[(identity("late", None), b"1".to_vec())]);
    wait_for_status(&handle, |status| status.phase == FollowPhase::Opening);
    handle.clone().close();
    assert_eq!(handle.state(), ProjectionState::Closed);
    assert!(world.quarantined().is_empty());
}

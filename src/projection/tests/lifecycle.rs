//! Opening, following, catching up and closing.

use std::fs;

use proptest::prelude::*;

use crate::projection::tests::*;

fn any_group() -> impl Strategy<Value = Vec<(Identity, Vec<u8>)>> {
    let event = (0u8..4, proptest::option::of(0u8..2), 0u64..1_000);
    let event = event.prop_map(|(event, to, data)| {
        let to = to.map(|user| format!("user{user}"));
        (identity(&format!("e{event}"), to.as_deref()), data.to_string().into_bytes())
    });
    proptest::collection::vec(event, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(16)
    })]

    #[test]
    fn every_record_reads_back_byte_for_byte_after_any_history(
        before in proptest::collection::vec(any_group(), 0..6),
        after in proptest::collection::vec(any_group(), 0..6),
    ) {
        let mut world = ProjectionWorld::new();
        for group in &before {
            world.append(group);
        }
        world.run_once();
        let handle = world.start();
        for group in &after {
            world.append(group);
        }
        world.wait_settled(&handle);
        prop_assert!(world.check_reads(&handle));
        prop_assert_eq!(handle.lag(), 0);
        prop_assert!(world.quarantined().is_empty());
        handle.close();
    }
}

#[test]
fn reopened_projection_continues_from_its_position() {
    let mut world = ProjectionWorld::with_records(2_500);
    world.run_once();
    let applied = world.open().applied().unwrap();
    assert_eq!((applied.seq, applied.chain), (2_500, world.chains[2_500]));
    world.append(&[(identity("late", None), b"1".to_vec())]);
    world.assert_recovers();
    assert_eq!(world.open().applied().unwrap().seq, 2_501);
    assert!(world.quarantined().is_empty());
}

#[test]
fn stale_copy_catches_up() {
    let mut world = ProjectionWorld::with_records(100);
    world.run_once();
    let copy_dir = world.root.path().join("copy");
    copy(&world.dir(), &copy_dir);
    world.append(&[
        (identity("event.1", None), b"1".to_vec()),
        (identity("new", None), b"2".to_vec()),
    ]);
    world.run_once();
    fs::remove_dir_all(world.dir()).unwrap();
    copy(&copy_dir, &world.dir());
    world.assert_recovers();
    assert!(world.quarantined().is_empty());
}

#[test]
fn missing_projection_is_rebuilt() {
    let world = ProjectionWorld::with_records(1_500);
    assert_eq!(world.open().applied(), None);
    world.assert_recovers();
    assert!(world.quarantined().is_empty());
}

#[test]
fn projection_of_an_empty_log_is_ready_at_once() {
    let world = ProjectionWorld::new();
    let handle = world.start();
    world.wait_settled(&handle);
    assert_eq!(handle.state(), ProjectionState::Ready);
    assert_eq!(handle.latest(&identity("a", None)), Ok(None));
    assert_eq!(handle.by_id(&Uuid::nil()), Ok(IdLookup::Absent));
    handle.close();
}

#[test]
fn projection_of_another_log_is_quarantined() {
    let other = ProjectionWorld::with_records(50);
    other.run_once();
    let world = ProjectionWorld::with_records(60);
    copy(&other.dir(), &world.dir());
    assert_eq!(world.open().applied(), None);
    world.assert_recovers();
    assert_eq!(world.quarantined(), ["projection.quarantined-1"]);
}

#[test]
fn projection_with_another_chain_than_the_journal_is_quarantined() {
    let world = ProjectionWorld::with_records(50);
    world.run_once();
    let handle = world.open().start(world.journal.reader(), false).unwrap();
    world.wait_settled(&handle);
    assert!(world.check_reads(&handle));
    handle.close();
    assert_eq!(world.quarantined(), ["projection.quarantined-1"]);
}

#[test]
fn projection_ahead_of_the_journal_is_quarantined() {
    let long = ProjectionWorld::with_records(50);
    long.run_once();
    let short = ProjectionWorld::with_records(20);
    copy(&long.dir(), &short.dir());
    let projection = Projection::open(&short.dir(), long.data_dir.log_id(), CACHE);
    assert_eq!(projection.applied().unwrap().seq, 50);
    let handle = projection.start(short.journal.reader(), true).unwrap();
    short.wait_settled(&handle);
    assert!(short.check_reads(&handle));
    handle.close();
    assert_eq!(short.quarantined(), ["projection.quarantined-1"]);
}

#[test]
fn readers_wait_for_the_requested_position() {
    let mut world = ProjectionWorld::with_records(10);
    let handle = world.start();
    let behind = block_on(handle.reached(11, Duration::ZERO));
    assert!(matches!(
        behind,
        Err(Unavailable::Behind { wanted: 11, .. } | Unavailable::Rebuilding)
    ));
    let waiter = std::thread::spawn({
        let handle = handle.clone();
        move || block_on(handle.reached(11, TIMEOUT)).map(|()| handle.applied())
    });
    world.append(&[(identity("last", None), b"null".to_vec())]);
    assert_eq!(waiter.join().unwrap(), Ok(11));
    handle.close();
}

#[test]
fn closed_projection_refuses_reads_as_closed() {
    let world = ProjectionWorld::with_records(10);
    let handle = world.start();
    world.wait_settled(&handle);
    handle.clone().close();
    assert_eq!(handle.state(), ProjectionState::Closed);
    assert_eq!(handle.latest(&identity("event.1", None)), Err(Unavailable::Closed));
    assert_eq!(block_on(handle.reached(1, TIMEOUT)), Err(Unavailable::Closed));
    handle.close();
    assert_eq!(world.open().applied().unwrap().seq, 10);
}

#[test]
fn projection_stops_when_its_last_handle_is_dropped() {
    let world = ProjectionWorld::with_records(10);
    let handle = world.start();
    let status = handle.status();
    drop(handle);
    let closed = std::cell::RefCell::new(status.clone());
    retry_on_change(status, || {
        closed.borrow_mut().borrow_and_update().phase == FollowPhase::Closed
    });
}

#[test]
fn projection_that_never_held_a_record_is_not_quarantined() {
    let mut world = ProjectionWorld::new();
    for _ in 0..3 {
        world.run_once();
    }
    world.append(&[(identity("first", None), b"1".to_vec())]);
    world.assert_recovers();
    assert!(world.quarantined().is_empty());
}

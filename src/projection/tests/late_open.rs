//! A store that takes long to open is opened beside the serving, by its milestone.

use std::io::ErrorKind;
use std::sync::mpsc;

use crate::projection::open::begin::StartingPoint;
use crate::projection::open::data_loss::{DataLoss, refuse_loss};
use crate::projection::store::faults::Call;
use crate::projection::store::{Store, faults};
use crate::projection::tests::*;

/// Whatever was written in one run is too much to wait for.
const BESIDE: ProjectionOptions = ProjectionOptions { replayed_records_max: 0, ..CACHE };

/// A world of so many records, projected in one run.
fn projected(count: u64) -> ProjectionWorld {
    let mut world = ProjectionWorld::with_records(count);
    world.options = BESIDE;
    world.project();
    world
}

fn progress_file(world: &ProjectionWorld) -> PathBuf {
    world.dir().join("progress")
}

fn is_beside(projection: &Projection) -> bool {
    matches!(projection.start, StartingPoint::Beside(_))
}

#[test]
fn a_long_run_is_opened_beside_and_the_next_start_waits_for_a_short_one() {
    let mut world = projected(2_500);
    let projection = world.open();
    assert!(is_beside(&projection));
    let applied = projection.applied().unwrap();
    assert_eq!((applied.seq, applied.chain), (2_500, world.chains[2_500]));
    world.heals();
    assert!(!is_beside(&world.open()), "nothing was written since it was opened");
    world.append(&[(identity("late", None), b"1".to_vec())]);
    world.project();
    assert!(is_beside(&world.open()));
    world.options = CACHE;
    assert!(!is_beside(&world.open()), "one record is read back soon");
    world.options = BESIDE;
    world.heals();
    assert!(world.asides().is_empty());
}

#[test]
fn what_was_told_before_is_told_while_it_is_opened() {
    let world = projected(300);
    faults::set(&world.dir(), Call::Open, u32::MAX, ErrorKind::StorageFull);
    let handle = world.start();
    until(&handle, |status| status.phase == FollowPhase::Opening);
    assert_eq!(handle.state(), ProjectionState::Opening { applied: 300, head: 300 });
    assert!(!handle.ids_complete());
    assert_eq!(handle.latest(&identity("event.1", None)), Err(Unavailable::Opening));
    let at_once = block_on(handle.reached(300, Duration::ZERO));
    assert_eq!(at_once, Err(Unavailable::Opening));
    faults::set(&world.dir(), Call::Open, 0, ErrorKind::StorageFull);
    block_on(handle.reached(300, PATIENCE)).unwrap();
    world.settled(&handle);
    assert!(world.all_right(&handle));
    handle.close();
    assert!(world.asides().is_empty());
}

#[test]
fn a_store_behind_its_progress_file_is_read_when_it_has_caught_up() {
    let mut world = projected(250);
    let stale = world.root.path().join("stale");
    copy(&world.store(), &stale);
    // Several steps.
    let more: Vec<_> = (0..3_120).map(|n| (identity("more", None), n.to_string().into())).collect();
    world.append(&more);
    world.project();
    fs::remove_dir_all(world.store()).unwrap();
    copy(&stale, &world.store());
    assert_eq!(world.open().applied().unwrap().seq, 3_370);
    let handle = world.start();
    let status = handle.status();
    changing(status.clone(), || {
        let seen = status.borrow().applied;
        assert!(seen == 0 || seen >= 3_370, "{seen}: it does not fall behind what was told");
        // Either it is not open, or it has all.
        handle.latest(&identity("more", None)).is_ok_and(|latest| latest.unwrap().version == 3_120)
    });
    world.settled(&handle);
    assert!(world.all_right(&handle));
    handle.close();
    assert!(world.asides().is_empty());
}

#[test]
fn a_store_ahead_of_its_progress_file_is_compared_with_the_journal() {
    let mut world = projected(250);
    let old = fs::read(progress_file(&world)).unwrap();
    let more: Vec<_> = (0..120).map(|n| (identity("more", None), n.to_string().into())).collect();
    world.append(&more);
    world.project();
    fs::write(progress_file(&world), &old).unwrap();
    let projection = world.open();
    assert!(is_beside(&projection));
    assert_eq!(projection.applied().unwrap().seq, 250);
    drop(projection);
    world.heals();
    assert!(world.asides().is_empty());
}

#[test]
fn a_progress_file_that_is_of_no_use_is_done_without() {
    let world = projected(250);
    let other = projected(260);
    let foreign = fs::read(progress_file(&other)).unwrap();
    let mut damaged = fs::read(progress_file(&world)).unwrap();
    damaged[40] ^= 1;
    for bytes in [foreign, damaged, Vec::new()] {
        fs::write(progress_file(&world), bytes).unwrap();
        let projection = world.open();
        assert!(!is_beside(&projection));
        assert_eq!(projection.applied().unwrap().seq, 250);
        drop(projection);
        world.heals();
    }
    assert!(world.asides().is_empty());
}

#[test]
fn a_store_that_is_not_what_its_progress_file_tells_of_is_built_anew() {
    let gone = |world: &ProjectionWorld| fs::remove_dir_all(world.store()).unwrap();
    let empty = |world: &ProjectionWorld| {
        gone(world);
        fs::create_dir(world.store()).unwrap();
    };
    // So young a store may have lost all to a full disk: it is filled again where it is.
    let damaged = |world: &ProjectionWorld| {
        let file = world.store().join("db");
        let mut bytes = fs::read(&file).unwrap();
        bytes.iter_mut().step_by(512).for_each(|byte| *byte ^= 0x55);
        fs::write(file, bytes).unwrap();
    };
    type StoreTamper<'a> = &'a dyn Fn(&ProjectionWorld);
    let changes: [(StoreTamper<'_>, usize); 3] = [(&gone, 1), (&empty, 1), (&damaged, 0)];
    for (change, asides) in changes {
        let world = projected(250);
        change(&world);
        world.heals();
        assert_eq!(world.asides().len(), asides);
    }
}

#[test]
fn a_progress_file_that_the_journal_disagrees_with_is_moved_aside() {
    let world = projected(50);
    let handle = world.open().start(world.journal.reader(), false).unwrap();
    world.settled(&handle);
    assert!(world.all_right(&handle));
    handle.close();
    assert_eq!(world.asides(), ["projection.quarantined-1"]);
}

/// The journal was cut behind the milestone, and grew again: only what it was at the start counts.
#[test]
fn a_store_that_is_ahead_of_where_the_journal_ended_proves_a_loss() {
    let mut long = projected(100);
    let old = fs::read(progress_file(&long)).unwrap();
    let more = ProjectionWorld::records(100..250);
    long.append(&more);
    long.project();
    for again in [0, 100] {
        let mut short = ProjectionWorld::with_records(150);
        copy(&long.dir(), &short.dir());
        fs::write(progress_file(&short), &old).unwrap();
        let projection = Projection::open(&short.dir(), long.data_dir.log_id(), BESIDE);
        assert_eq!(projection.applied().unwrap().seq, 100);
        assert_eq!(short.chains[100], projection.applied().unwrap().chain);
        // It is not opened before the journal has grown.
        faults::set(&short.dir(), Call::Open, 1, ErrorKind::StorageFull);
        let handle = projection.start(short.journal.reader(), true).unwrap();
        until(&handle, |status| status.phase != FollowPhase::Rebuilding);
        short.append(&ProjectionWorld::records(150..150 + again));
        until(&handle, |status| matches!(status.phase, FollowPhase::Failed(_)));
        assert!(handle.proves_loss());
        assert_eq!(handle.latest(&identity("event.1", None)), Err(Unavailable::Failed));
        handle.close();
        assert!(short.asides().is_empty(), "it is the witness");
        let DataLoss { file, said } = refuse_loss(&short.dir()).unwrap_err();
        assert_eq!(file, short.dir().join("loss"));
        assert!(said.contains("seq 250") && said.contains("seq 150"), "{said}");
    }
}

#[test]
fn a_store_that_is_asked_for_at_once_proves_how_far_it_is_and_is_opened_once() {
    let mut world = projected(250);
    let old = fs::read(progress_file(&world)).unwrap();
    world.append(&ProjectionWorld::records(250..400));
    world.project();
    assert_eq!(world.open().prove(), 400, "its milestone is as far");
    fs::write(progress_file(&world), &old).unwrap();
    let projection = world.open();
    assert_eq!(projection.applied().unwrap().seq, 250);
    assert_eq!((projection.prove(), projection.prove()), (400, 400));
    let handle = projection.start(world.journal.reader(), true).unwrap();
    world.settled(&handle);
    assert!(world.all_right(&handle));
    handle.close();
    assert!(world.asides().is_empty());
    assert_eq!(world.open().prove(), 400, "one that is opened first");
}

/// The log was cut behind the milestone, and has grown past the store in a run that ended early.
#[test]
fn a_store_that_goes_on_with_other_records_than_the_log_proves_a_loss() {
    let mut world = projected(100);
    let old = fs::read(progress_file(&world)).unwrap();
    world.append(&ProjectionWorld::records(100..150));
    world.project();
    let mut other = ProjectionWorld::with_records(100);
    other.append(
        &(0..90).map(|n| (identity("other", None), vec![b'0' + n % 10])).collect::<Vec<_>>(),
    );
    copy(&world.dir(), &other.dir());
    fs::write(progress_file(&other), &old).unwrap();
    let projection = Projection::open(&other.dir(), world.data_dir.log_id(), BESIDE);
    let handle = projection.start(other.journal.reader(), true).unwrap();
    until(&handle, |status| matches!(status.phase, FollowPhase::Failed(_)));
    assert!(handle.proves_loss());
    handle.close();
    let DataLoss { said, .. } = refuse_loss(&other.dir()).unwrap_err();
    assert!(said.contains("seq 150, and the log has other records there"), "{said}");
}

/// A store that was opened at once, and is of another history, is not gone back to.
#[test]
fn a_store_that_was_moved_aside_is_not_opened_again_after_a_full_disk() {
    let mut world = projected(50);
    let projection = world.open();
    assert_eq!(projection.prove(), 50);
    let handle = projection.start(world.journal.reader(), false).unwrap();
    world.settled(&handle);
    faults::set(&world.dir(), Call::Apply, 1, ErrorKind::StorageFull);
    world.append(&ProjectionWorld::records(50..60));
    world.settled(&handle);
    assert!(world.all_right(&handle));
    handle.close();
    assert_eq!(world.asides(), ["projection.quarantined-1"]);
}

#[test]
fn a_store_that_somebody_else_holds_open_is_waited_for() {
    let world = projected(250);
    let held = Store::open(&world.store(), 8 << 20, mpsc::channel().0).unwrap();
    let handle = world.start();
    until(&handle, |status| status.phase == FollowPhase::Opening);
    drop(held);
    world.settled(&handle);
    assert!(world.all_right(&handle));
    handle.close();
    assert!(world.asides().is_empty());
}

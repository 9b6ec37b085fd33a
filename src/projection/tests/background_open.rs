//! A store that takes long to open is opened in the background, with the position of its progress
//! file.

use std::io::ErrorKind;
use std::sync::mpsc;

use crate::projection::open::data_loss::{DataLoss, refuse_data_loss};
use crate::projection::open::starting_point::StartingPoint;
use crate::projection::store::faults::Call;
use crate::projection::store::{Store, faults};
use crate::projection::tests::*;

/// Any number of records written in one run is too many to wait for.
const BACKGROUND: ProjectionOptions = ProjectionOptions { replayed_records_max: 0, ..CACHE };

type StoreTamper<'a> = &'a dyn Fn(&ProjectionWorld);

/// A world of `count` records, projected in one run.
fn world_projected_once(count: u64) -> ProjectionWorld {
    let mut world = ProjectionWorld::with_records(count);
    world.options = BACKGROUND;
    world.run_once();
    world
}

fn progress_file(world: &ProjectionWorld) -> PathBuf {
    world.dir().join("progress")
}

fn opens_in_background(projection: &Projection) -> bool {
    matches!(projection.start, StartingPoint::OpenInBackground(_))
}

#[test]
fn store_is_opened_in_background_after_a_long_run_and_at_once_after_a_short_one() {
    let mut world = world_projected_once(2_500);
    let projection = world.open();
    assert!(opens_in_background(&projection));
    let applied = projection.applied().unwrap();
    assert_eq!((applied.seq, applied.chain), (2_500, world.chains[2_500]));
    world.assert_recovers();
    assert!(!opens_in_background(&world.open()), "nothing was written since the last open");
    world.append(&[(identity("late", None), b"1".to_vec())]);
    world.run_once();
    assert!(opens_in_background(&world.open()));
    world.options = CACHE;
    assert!(!opens_in_background(&world.open()), "one record is replayed fast");
    world.options = BACKGROUND;
    world.assert_recovers();
    assert!(world.quarantined().is_empty());
}

#[test]
fn recorded_position_is_reported_while_the_store_opens() {
    let world = world_projected_once(300);
    faults::set(&world.dir(), Call::Open, u32::MAX, ErrorKind::StorageFull);
    let handle = world.start();
    wait_for_status(&handle, |status| status.phase == FollowPhase::Opening);
    assert_eq!(handle.state(), ProjectionState::Opening { applied: 300, head: 300 });
    assert!(!handle.ids_complete());
    assert_eq!(handle.latest(&identity("event.1", None)), Err(Unavailable::Opening));
    let at_once = block_on(handle.reached(300, Duration::ZERO));
    assert_eq!(at_once, Err(Unavailable::Opening));
    faults::set(&world.dir(), Call::Open, 0, ErrorKind::StorageFull);
    block_on(handle.reached(300, TIMEOUT)).unwrap();
    world.wait_settled(&handle);
    assert!(world.check_reads(&handle));
    handle.close();
    assert!(world.quarantined().is_empty());
}

#[test]
fn store_behind_its_progress_file_is_readable_once_caught_up() {
    let mut world = world_projected_once(250);
    let stale = world.root.path().join("stale");
    copy(&world.store(), &stale);
    // Several steps.
    let more: Vec<_> = (0..3_120).map(|n| (identity("more", None), n.to_string().into())).collect();
    world.append(&more);
    world.run_once();
    fs::remove_dir_all(world.store()).unwrap();
    copy(&stale, &world.store());
    assert_eq!(world.open().applied().unwrap().seq, 3_370);
    let handle = world.start();
    let status = handle.status();
    retry_on_change(status.clone(), || {
        let seen = status.borrow().applied;
        assert!(seen == 0 || seen >= 3_370, "{seen}: the position moved back");
        // Either it is not open, or it has all records.
        handle.latest(&identity("more", None)).is_ok_and(|latest| latest.unwrap().version == 3_120)
    });
    world.wait_settled(&handle);
    assert!(world.check_reads(&handle));
    handle.close();
    assert!(world.quarantined().is_empty());
}

#[test]
fn store_ahead_of_its_progress_file_is_compared_with_the_journal() {
    let mut world = world_projected_once(250);
    let old = fs::read(progress_file(&world)).unwrap();
    let more: Vec<_> = (0..120).map(|n| (identity("more", None), n.to_string().into())).collect();
    world.append(&more);
    world.run_once();
    fs::write(progress_file(&world), &old).unwrap();
    let projection = world.open();
    assert!(opens_in_background(&projection));
    assert_eq!(projection.applied().unwrap().seq, 250);
    drop(projection);
    world.assert_recovers();
    assert!(world.quarantined().is_empty());
}

#[test]
fn unusable_progress_file_is_ignored() {
    let world = world_projected_once(250);
    let other = world_projected_once(260);
    let foreign = fs::read(progress_file(&other)).unwrap();
    let mut damaged = fs::read(progress_file(&world)).unwrap();
    damaged[40] ^= 1;
    for bytes in [foreign, damaged, Vec::new()] {
        fs::write(progress_file(&world), bytes).unwrap();
        let projection = world.open();
        assert!(!opens_in_background(&projection));
        assert_eq!(projection.applied().unwrap().seq, 250);
        drop(projection);
        world.assert_recovers();
    }
    assert!(world.quarantined().is_empty());
}

/// Earlier builds named the progress file `milestone`.
#[test]
fn progress_file_under_its_former_name_is_ignored_and_removed() {
    let world = world_projected_once(250);
    let former = world.dir().join("milestone");
    fs::rename(progress_file(&world), &former).unwrap();
    let projection = world.open();
    assert!(!opens_in_background(&projection));
    assert_eq!(projection.applied().unwrap().seq, 250);
    drop(projection);
    world.assert_recovers();
    assert!(!former.exists());
    assert!(world.quarantined().is_empty());
}

#[test]
fn store_that_contradicts_its_progress_file_is_rebuilt() {
    let missing = |world: &ProjectionWorld| fs::remove_dir_all(world.store()).unwrap();
    let empty = |world: &ProjectionWorld| {
        missing(world);
        fs::create_dir(world.store()).unwrap();
    };
    // A store this small may have lost everything to a full disk, so it is filled again in place.
    let damaged = |world: &ProjectionWorld| {
        let file = world.store().join("db");
        let mut bytes = fs::read(&file).unwrap();
        bytes.iter_mut().step_by(512).for_each(|byte| *byte ^= 0x55);
        fs::write(file, bytes).unwrap();
    };
    let changes: [(StoreTamper<'_>, usize); 3] = [(&missing, 1), (&empty, 1), (&damaged, 0)];
    for (change, quarantined) in changes {
        let world = world_projected_once(250);
        change(&world);
        world.assert_recovers();
        assert_eq!(world.quarantined().len(), quarantined);
    }
}

#[test]
fn store_whose_progress_file_disagrees_with_the_journal_is_quarantined() {
    let world = world_projected_once(50);
    let handle = world.open().start(world.journal.reader(), false).unwrap();
    world.wait_settled(&handle);
    assert!(world.check_reads(&handle));
    handle.close();
    assert_eq!(world.quarantined(), ["projection.quarantined-1"]);
}

/// The journal was cut after the position in the progress file and has grown again. Only its end at
/// the start counts.
#[test]
fn store_ahead_of_the_journal_end_at_start_reports_data_loss() {
    let mut long = world_projected_once(100);
    let old = fs::read(progress_file(&long)).unwrap();
    let more = ProjectionWorld::records(100..250);
    long.append(&more);
    long.run_once();
    for again in [0, 100] {
        let mut short = ProjectionWorld::with_records(150);
        copy(&long.dir(), &short.dir());
        fs::write(progress_file(&short), &old).unwrap();
        let projection = Projection::open(&short.dir(), long.data_dir.log_id(), BACKGROUND);
        assert_eq!(projection.applied().unwrap().seq, 100);
        assert_eq!(short.chains[100], projection.applied().unwrap().chain);
        // It is not opened before the journal has grown.
        faults::set(&short.dir(), Call::Open, 1, ErrorKind::StorageFull);
        let handle = projection.start(short.journal.reader(), true).unwrap();
        wait_for_status(&handle, |status| status.phase != FollowPhase::Rebuilding);
        short.append(&ProjectionWorld::records(150..150 + again));
        wait_for_status(&handle, |status| matches!(status.phase, FollowPhase::Failed(_)));
        assert!(handle.reports_data_loss());
        assert_eq!(handle.latest(&identity("event.1", None)), Err(Unavailable::Failed));
        handle.close();
        assert!(short.quarantined().is_empty(), "the store is the evidence");
        let DataLoss { file, finding } = refuse_data_loss(&short.dir()).unwrap_err();
        assert_eq!(file, short.dir().join("loss"));
        assert!(finding.contains("seq 250") && finding.contains("seq 150"), "{finding}");
    }
}

#[test]
fn confirming_the_position_opens_the_store_once() {
    let mut world = world_projected_once(250);
    let old = fs::read(progress_file(&world)).unwrap();
    world.append(&ProjectionWorld::records(250..400));
    world.run_once();
    assert_eq!(world.open().confirm_applied(), 400, "its progress file is up to date");
    fs::write(progress_file(&world), &old).unwrap();
    let projection = world.open();
    assert_eq!(projection.applied().unwrap().seq, 250);
    assert_eq!((projection.confirm_applied(), projection.confirm_applied()), (400, 400));
    let handle = projection.start(world.journal.reader(), true).unwrap();
    world.wait_settled(&handle);
    assert!(world.check_reads(&handle));
    handle.close();
    assert!(world.quarantined().is_empty());
    assert_eq!(world.open().confirm_applied(), 400, "this one is not opened in the background");
}

/// The log was cut after the position in the progress file, and has grown past the store in a run
/// that ended early.
#[test]
fn store_with_other_records_than_the_log_reports_data_loss() {
    let mut world = world_projected_once(100);
    let old = fs::read(progress_file(&world)).unwrap();
    world.append(&ProjectionWorld::records(100..150));
    world.run_once();
    let mut other = ProjectionWorld::with_records(100);
    other.append(
        &(0..90).map(|n| (identity("other", None), vec![b'0' + n % 10])).collect::<Vec<_>>(),
    );
    copy(&world.dir(), &other.dir());
    fs::write(progress_file(&other), &old).unwrap();
    let projection = Projection::open(&other.dir(), world.data_dir.log_id(), BACKGROUND);
    let handle = projection.start(other.journal.reader(), true).unwrap();
    wait_for_status(&handle, |status| matches!(status.phase, FollowPhase::Failed(_)));
    assert!(handle.reports_data_loss());
    handle.close();
    let DataLoss { finding, .. } = refuse_data_loss(&other.dir()).unwrap_err();
    assert!(finding.contains("seq 150, and the log has other records there"), "{finding}");
}

/// A store that was opened at once and is of another history is not used again.
#[test]
fn quarantined_store_is_not_reopened_after_a_full_disk() {
    let mut world = world_projected_once(50);
    let projection = world.open();
    assert_eq!(projection.confirm_applied(), 50);
    let handle = projection.start(world.journal.reader(), false).unwrap();
    world.wait_settled(&handle);
    faults::set(&world.dir(), Call::Apply, 1, ErrorKind::StorageFull);
    world.append(&ProjectionWorld::records(50..60));
    world.wait_settled(&handle);
    assert!(world.check_reads(&handle));
    handle.close();
    assert_eq!(world.quarantined(), ["projection.quarantined-1"]);
}

#[test]
fn background_open_waits_for_a_store_held_open() {
    let world = world_projected_once(250);
    let held = Store::open(&world.store(), 8 << 20, mpsc::channel().0).unwrap();
    let handle = world.start();
    wait_for_status(&handle, |status| status.phase == FollowPhase::Opening);
    drop(held);
    world.wait_settled(&handle);
    assert!(world.check_reads(&handle));
    handle.close();
    assert!(world.quarantined().is_empty());
}

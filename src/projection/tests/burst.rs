//! Pauses during a burst, which end when a reader waits.

use crate::projection::follow::apply::STEP_RECORDS_MAX;
use crate::projection::tests::*;

const GROUPS: usize = 20;

#[test]
fn burst_pauses_the_projection_until_a_reader_waits() {
    let mut world = ProjectionWorld::with_records(10);
    // Any insert rate is a burst, and it does not end.
    let options =
        ProjectionOptions { burst_lag_records_max: Seq::MAX, burst_records_per_second: 0, ..CACHE };
    let projection = Projection::open(&world.dir(), world.data_dir.log_id(), options);
    let handle = projection.start(world.journal.reader(), true).unwrap();
    world.wait_settled(&handle);
    let group = vec![(identity("burst", None), b"1".to_vec()); 100];
    let append = |world: &mut ProjectionWorld| (0..GROUPS).for_each(|_| world.append_group(&group));
    // One step is made, and a second if an earlier reader was noticed late. The next would only be
    // made when the pause budget is used up.
    let before = world.head();
    append(&mut world);
    wait_for_status(&handle, |status| status.applied > before);
    let most = before + 2 * STEP_RECORDS_MAX as Seq;
    (0..3).for_each(|_| append(&mut world));
    assert!(handle.applied() <= most, "{} of {most}", handle.applied());
    block_on(handle.reached(world.head(), TIMEOUT)).unwrap();
    // The thread may notice late that no reader waits any more. The test ends without waiting for
    // the rest.
    append(&mut world);
    append(&mut world);
    assert!(handle.applied() < world.head());
    handle.close();
}

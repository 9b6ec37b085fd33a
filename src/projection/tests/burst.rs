//! Giving way to a burst, and to whoever waits for the history in it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::*;

/// So many records come between two looks at what is applied: more than in one step.
const UNAPPLIED: Seq = 20_000;

/// The burst comes in waves, from being so far ahead to being so far ahead, for a machine may be
/// much slower at applying than at appending.
const WAVE: std::ops::Range<Seq> = 5_000..60_000;

/// Waits until so many records came and none of them, nor any before, was applied.
fn rests(handle: &ProjectionHandle, reader: &journal::Reader) {
    let began = Instant::now();
    loop {
        let (applied, head) = (handle.applied(), reader.durable());
        while handle.applied() == applied && reader.durable() < head + UNAPPLIED {
            assert!(began.elapsed() < PATIENCE, "it never rests");
            thread::yield_now();
        }
        if handle.applied() == applied {
            return;
        }
    }
}

#[test]
fn in_a_burst_nothing_is_applied_until_a_reader_waits() {
    let mut world = World::with_records(10);
    let options = Options { give_way_records_max: Seq::MAX, ..CACHE };
    let projection = Projection::open(&world.dir(), world.data_dir.log_id(), options);
    let reader = world.journal.reader();
    let handle = projection.start(reader.clone(), true).unwrap();
    world.settled(&handle);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let group = vec![(identity("burst", None), b"1".to_vec()); 1_000];
            while !is_over.load(Ordering::Relaxed) {
                if handle.lag() < WAVE.start {
                    while handle.lag() < WAVE.end {
                        world.append_group(&group);
                    }
                }
                thread::yield_now();
            }
        });
        rests(&handle, &reader);
        let head = reader.durable();
        block_on(handle.reached(head, PATIENCE)).unwrap();
        assert!(handle.applied() >= head);
        // Nobody waits any more.
        rests(&handle, &reader);
        is_over.store(true, Ordering::Relaxed);
    });
    world.settled(&handle);
    handle.close();
}

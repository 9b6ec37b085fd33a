//! Damaged files: no answer is wrong, and in the end every read is answered.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc;

use crate::projection::open::starting_point::StartingPoint;
use crate::projection::store::versions::BlockKey;
use crate::projection::store::{Store, keys, versions};
use crate::projection::tests::locations::block_of;
use crate::projection::tests::*;

/// Number of stores that each kind of damage is done to.
const SEEDS: u64 = 40;

/// A small generator whose seed repeats a failure.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// The world and an untouched copy of its projection.
fn world_projected_once(count: u64) -> (ProjectionWorld, PathBuf) {
    let world = ProjectionWorld::with_records(count);
    world.run_once();
    let copy_dir = world.root.path().join("copy");
    copy(&world.dir(), &copy_dir);
    (world, copy_dir)
}

/// Length of a file without the zeros at its end: sled leaves most of its last segment empty.
fn used(file: &Path) -> u64 {
    let bytes = fs::read(file).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last as u64 + 1)
}

#[test]
fn flipped_bytes_never_cause_a_wrong_answer() {
    let (world, copy_dir) = world_projected_once(400);
    for seed in 0..SEEDS {
        fs::remove_dir_all(world.dir()).unwrap();
        copy(&copy_dir, &world.dir());
        let mut dice = Dice(seed);
        let files = files(&world.store());
        for _ in 0..=dice.below(4) {
            let path = &files[dice.below(files.len() as u64) as usize];
            let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
            let mut byte = [0];
            let at = dice.below(used(path));
            file.read_exact_at(&mut byte, at).unwrap();
            byte[0] ^= 1 << dice.below(8);
            file.write_all_at(&byte, at).unwrap();
            eprintln!("seed {seed}: {} at {at}", path.display());
        }
        world.assert_recovers();
    }
}

#[test]
fn zeroed_ranges_never_cause_a_wrong_answer() {
    let (world, copy_dir) = world_projected_once(400);
    for seed in 0..SEEDS / 2 {
        fs::remove_dir_all(world.dir()).unwrap();
        copy(&copy_dir, &world.dir());
        let mut dice = Dice(seed);
        let path = world.store().join("db");
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let at = dice.below(used(&path));
        eprintln!("seed {seed}: zeros at {at}");
        file.write_all_at(&vec![0; 1 + dice.below(4_096) as usize], at).unwrap();
        world.assert_recovers();
    }
}

#[test]
fn truncated_files_never_cause_a_wrong_answer() {
    let (world, copy_dir) = world_projected_once(400);
    for seed in 0..SEEDS / 2 {
        fs::remove_dir_all(world.dir()).unwrap();
        copy(&copy_dir, &world.dir());
        let mut dice = Dice(seed);
        let files = files(&world.store());
        let path = &files[dice.below(files.len() as u64) as usize];
        let len = dice.below(used(path));
        eprintln!("seed {seed}: {} cut to {len}", path.display());
        OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
        world.assert_recovers();
    }
}

#[test]
fn deleted_files_never_cause_a_wrong_answer() {
    let (world, copy_dir) = world_projected_once(400);
    for path in files(&world.store()) {
        fs::remove_dir_all(world.dir()).unwrap();
        copy(&copy_dir, &world.dir());
        fs::remove_file(&path).unwrap();
        world.assert_recovers();
    }
    fs::remove_dir_all(world.dir()).unwrap();
    fs::create_dir_all(world.store()).unwrap();
    world.assert_recovers();
}

#[test]
fn file_instead_of_the_directory_is_quarantined() {
    let world = ProjectionWorld::with_records(10);
    fs::write(world.dir(), "mine").unwrap();
    world.assert_recovers();
    assert_eq!(world.quarantined(), ["projection.quarantined-1"]);
    assert_eq!(fs::read(world.root.path().join("projection.quarantined-1")).unwrap(), b"mine");
}

#[test]
fn foreign_directory_is_quarantined() {
    let world = ProjectionWorld::with_records(10);
    fs::create_dir(world.dir()).unwrap();
    fs::write(world.dir().join("notes.txt"), "mine").unwrap();
    world.assert_recovers();
    assert_eq!(
        fs::read(world.root.path().join("projection.quarantined-1/notes.txt")).unwrap(),
        b"mine"
    );
}

#[test]
fn each_invalid_directory_gets_its_own_quarantine_number() {
    let world = ProjectionWorld::with_records(10);
    for n in 1..=3 {
        fs::create_dir_all(world.store()).unwrap();
        fs::write(world.store().join("conf"), "not sled's").unwrap();
        for entry in fs::read_dir(world.dir()).unwrap() {
            let path = entry.unwrap().path();
            if path != world.store() {
                fs::remove_dir_all(path).unwrap();
            }
        }
        world.assert_recovers();
        assert_eq!(world.quarantined().len(), n);
    }
}

#[test]
fn half_written_sled_snapshot_is_removed() {
    let world = ProjectionWorld::with_records(100);
    world.run_once();
    fs::write(world.store().join("snap.0000000000001234.generating"), "half").unwrap();
    assert_eq!(world.open().applied().unwrap().seq, 100);
    world.assert_recovers();
    assert!(world.quarantined().is_empty());
}

#[test]
fn store_held_open_by_another_handle_is_quarantined() {
    let world = ProjectionWorld::with_records(100);
    world.run_once();
    let held = Store::open(&world.store(), 8 << 20, mpsc::channel().0).unwrap();
    world.assert_recovers();
    assert_eq!(world.quarantined(), ["projection.quarantined-1"]);
    drop(held);
    world.assert_recovers();
    assert_eq!(world.quarantined(), ["projection.quarantined-1"]);
}

#[test]
fn missing_history_entry_invalidates_the_store_and_it_is_rebuilt() {
    let world = ProjectionWorld::with_records(200);
    world.run_once();
    let target = identity("event.1", None);
    let records = &world.model[&target];
    let block = BlockKey::of(records[0].seq(), 2);
    tamper(&world, |db| assert!(db.remove(block.key()).unwrap().is_some()));
    let projection = world.open();
    assert_eq!(projection.applied().unwrap().seq, 200, "the pointers do not show it");
    let handle = projection.start(world.journal.reader(), true).unwrap();
    let status = handle.status();
    let query = PageQuery { versions: 1..=9, limit: 9, descending: false };
    retry_on_change(status, || match handle.page(&target, &query) {
        Ok(page) => page == records[..9],
        Err(Unavailable::Invalid | Unavailable::Rebuilding) => false,
        Err(other) => panic!("{other}"),
    });
    world.wait_settled(&handle);
    assert!(world.check_reads(&handle));
    handle.close();
    assert_eq!(world.quarantined(), ["projection.quarantined-1"]);
}

#[test]
fn store_invalidated_by_a_reader_is_rebuilt() {
    let world = ProjectionWorld::with_records(200);
    let handle = world.start();
    world.wait_settled(&handle);
    let target = identity("event.2", None);
    let records = &world.model[&target];
    let block = BlockKey::of(records[0].seq(), 3).key();
    let store = handle.shared().readable().unwrap();
    let value = store.get(&block).unwrap().unwrap();
    let mut locations = versions::decode_block(&block, &value).unwrap();
    locations[2] = locations[3];
    put(&store, &block, &block_of(&block, &locations));
    drop(store);
    let query = PageQuery { versions: 1..=9, limit: 9, descending: true };
    let status = handle.status();
    assert_eq!(handle.page(&target, &query), Err(Unavailable::Invalid));
    retry_on_change(status, || handle.page(&target, &query).is_ok());
    world.wait_settled(&handle);
    assert!(world.check_reads(&handle));
    handle.close();
    assert_eq!(world.quarantined(), ["projection.quarantined-1"]);
}

#[test]
fn scrub_finds_a_missing_id() {
    let world = ProjectionWorld::with_records(3_000);
    world.run_once();
    let id = world.model[&identity("event.3", None)][50].id();
    tamper(&world, |db| assert!(db.remove(keys::id_key(&id)).unwrap().is_some()));
    let projection = world.open();
    assert_eq!(projection.applied().unwrap().seq, 3_000);
    let handle = projection.start(world.journal.reader(), true).unwrap();
    let status = handle.status();
    retry_on_change(status, || match handle.by_id(&id) {
        Ok(IdLookup::Absent) => panic!("the id is reported absent"),
        Ok(IdLookup::Found(_)) => true,
        Ok(IdLookup::NotYet) | Err(_) => false,
    });
    world.wait_settled(&handle);
    assert!(world.check_reads(&handle));
    handle.close();
    assert_eq!(world.quarantined(), ["projection.quarantined-1"]);
}

#[test]
fn wrong_id_and_lost_history_block_are_found() {
    for lost in [false, true] {
        let world = ProjectionWorld::with_records(200);
        world.run_once();
        let records = &world.model[&identity("event.3", None)];
        let mut ids = records.iter().filter(|record| !id_encodes_location(record.seq()));
        let [id, other] = [(); 2].map(|()| keys::id_key(&ids.next().unwrap().id()));
        tamper(&world, |db| {
            if lost {
                assert!(db.remove(BlockKey::of(records[0].seq(), 1).key()).unwrap().is_some());
            } else {
                let location =
                    keys::decode_location(&other, &db.get(other).unwrap().unwrap()).unwrap();
                db.insert(id, keys::location_value(&id, &location).as_slice()).unwrap();
            }
        });
        world.assert_recovers();
        assert_eq!(world.quarantined(), ["projection.quarantined-1"]);
    }
}

#[test]
fn missing_identity_or_position_is_found_on_open() {
    let (world, copy_dir) = world_projected_once(100);
    for key in [keys::APPLIED.to_vec(), keys::name_key(&identity("event.3", None))] {
        fs::remove_dir_all(world.dir()).unwrap();
        copy(&copy_dir, &world.dir());
        tamper(&world, |db| assert!(db.remove(key).unwrap().is_some()));
        assert_eq!(world.open().applied(), None);
        world.assert_recovers();
    }
    assert_eq!(world.quarantined().len(), 2);
}

/// Formats of earlier versions, which held whole records, an entry for each version, and full
/// locations in blocks, and one of a later version.
#[test]
fn store_of_another_format_is_quarantined_with_that_reason() {
    let world = ProjectionWorld::with_records(100);
    world.run_once();
    let position_of_format = |format: u8, bytes: usize| {
        let mut value = vec![format];
        value.extend_from_slice(world.data_dir.log_id().as_bytes());
        value.extend_from_slice(&100u64.to_be_bytes());
        value.extend_from_slice(&world.chains[100]);
        value.resize(bytes, 0);
        keys::seal(keys::APPLIED, value)
    };
    let formats = [(0, 57, "older"), (1, 81, "older"), (2, 81, "older"), (4, 99, "newer")];
    for (format, bytes, age) in formats {
        let value = position_of_format(format, bytes);
        tamper(&world, |db| db.insert(keys::APPLIED, value).unwrap());
        let projection = world.open();
        assert_eq!(projection.applied(), None);
        let StartingPoint::Invalid(reason) = &projection.start else {
            panic!("the store is accepted")
        };
        assert_eq!(*reason, format!("its format is {age} than this version's"));
        drop(projection);
        let handle = world.start();
        world.wait_settled(&handle);
        assert!(world.check_reads(&handle));
        handle.close();
        fs::remove_dir_all(world.root.path().join("projection.quarantined-1")).unwrap();
        let store = fs::read_dir(world.dir()).unwrap().next().unwrap().unwrap().path();
        fs::rename(store, world.store()).unwrap();
    }
}

#[test]
fn projection_that_cannot_be_rebuilt_fails_with_the_reason() {
    let world = ProjectionWorld::with_records(10);
    world.run_once();
    // The highest number is taken, so no number is free to quarantine the directory.
    fs::create_dir_all(world.root.path().join(format!("projection.quarantined-{}/x", u64::MAX)))
        .unwrap();
    let handle = world.open().start(world.journal.reader(), false).unwrap();
    wait_for_status(&handle, |status| matches!(status.phase, FollowPhase::Failed(_)));
    assert!(
        matches!(handle.state(), ProjectionState::Failed(reason) if reason.contains("rebuilt"))
    );
    assert_eq!(handle.latest(&identity("event.1", None)), Err(Unavailable::Failed));
    assert_eq!(block_on(handle.reached(1, TIMEOUT)), Err(Unavailable::Failed));
    handle.close();
}

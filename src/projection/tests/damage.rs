//! Whatever is done to its files: no wrong answer, and a right one in the end.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc;

use crate::projection::open::begin::StartingPoint;
use crate::projection::store::versions::BlockKey;
use crate::projection::store::{Store, StoreBatch, keys, versions};
use crate::projection::tests::*;

/// How many stores each kind of damage is done to.
const SEEDS: u64 = 40;

/// A small generator with a seed that a failure can be repeated with.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// The world and an untouched copy of its projection.
fn projected(count: u64) -> (ProjectionWorld, PathBuf) {
    let world = ProjectionWorld::with_records(count);
    world.project();
    let copied = world.root.path().join("copy");
    copy(&world.dir(), &copied);
    (world, copied)
}

/// Opens sled on a closed store and changes it behind the projection's back.
fn meddle(world: &ProjectionWorld, change: impl FnOnce(&sled::Db)) {
    let (alive, closed) = mpsc::channel();
    let store = Store::open(&world.store(), 8 << 20, alive).unwrap();
    change(store.db());
    drop(store);
    closed.recv_timeout(PATIENCE).unwrap_err();
}

/// The last used byte of a file: sled leaves most of the last segment empty.
fn used(file: &Path) -> u64 {
    let bytes = fs::read(file).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last as u64 + 1)
}

#[test]
fn flipped_bytes_never_make_a_wrong_answer() {
    let (world, copied) = projected(400);
    for seed in 0..SEEDS {
        fs::remove_dir_all(world.dir()).unwrap();
        copy(&copied, &world.dir());
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
        world.heals();
    }
}

#[test]
fn zeroed_ranges_never_make_a_wrong_answer() {
    let (world, copied) = projected(400);
    for seed in 0..SEEDS / 2 {
        fs::remove_dir_all(world.dir()).unwrap();
        copy(&copied, &world.dir());
        let mut dice = Dice(seed);
        let path = world.store().join("db");
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let at = dice.below(used(&path));
        eprintln!("seed {seed}: zeros at {at}");
        file.write_all_at(&vec![0; 1 + dice.below(4_096) as usize], at).unwrap();
        world.heals();
    }
}

#[test]
fn truncated_files_never_make_a_wrong_answer() {
    let (world, copied) = projected(400);
    for seed in 0..SEEDS / 2 {
        fs::remove_dir_all(world.dir()).unwrap();
        copy(&copied, &world.dir());
        let mut dice = Dice(seed);
        let files = files(&world.store());
        let path = &files[dice.below(files.len() as u64) as usize];
        let len = dice.below(used(path));
        eprintln!("seed {seed}: {} cut to {len}", path.display());
        OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
        world.heals();
    }
}

#[test]
fn deleted_files_never_make_a_wrong_answer() {
    let (world, copied) = projected(400);
    for path in files(&world.store()) {
        fs::remove_dir_all(world.dir()).unwrap();
        copy(&copied, &world.dir());
        fs::remove_file(&path).unwrap();
        world.heals();
    }
    fs::remove_dir_all(world.dir()).unwrap();
    fs::create_dir_all(world.store()).unwrap();
    world.heals();
}

#[test]
fn a_file_in_the_place_of_the_directory_is_kept_aside() {
    let world = ProjectionWorld::with_records(10);
    fs::write(world.dir(), "mine").unwrap();
    world.heals();
    assert_eq!(world.asides(), ["projection.quarantined-1"]);
    assert_eq!(fs::read(world.root.path().join("projection.quarantined-1")).unwrap(), b"mine");
}

#[test]
fn a_directory_of_something_else_is_kept_aside() {
    let world = ProjectionWorld::with_records(10);
    fs::create_dir(world.dir()).unwrap();
    fs::write(world.dir().join("notes.txt"), "mine").unwrap();
    world.heals();
    assert_eq!(
        fs::read(world.root.path().join("projection.quarantined-1/notes.txt")).unwrap(),
        b"mine"
    );
}

#[test]
fn every_directory_in_doubt_gets_a_place_of_its_own() {
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
        world.heals();
        assert_eq!(world.asides().len(), n);
    }
}

#[test]
fn a_half_written_snapshot_is_removed() {
    let world = ProjectionWorld::with_records(100);
    world.project();
    fs::write(world.store().join("snap.0000000000001234.generating"), "half").unwrap();
    assert_eq!(world.open().applied().unwrap().seq, 100);
    world.heals();
    assert!(world.asides().is_empty());
}

#[test]
fn a_store_that_somebody_else_holds_open_is_moved_aside() {
    let world = ProjectionWorld::with_records(100);
    world.project();
    let held = Store::open(&world.store(), 8 << 20, mpsc::channel().0).unwrap();
    world.heals();
    assert_eq!(world.asides(), ["projection.quarantined-1"]);
    drop(held);
    world.heals();
    assert_eq!(world.asides(), ["projection.quarantined-1"]);
}

#[test]
fn a_missing_history_entry_raises_doubt_and_heals() {
    let world = ProjectionWorld::with_records(200);
    world.project();
    let target = identity("event.1", None);
    let records = &world.model[&target];
    let block = BlockKey::of(records[0].seq(), 2);
    meddle(&world, |db| assert!(db.remove(block.key()).unwrap().is_some()));
    let projection = world.open();
    assert_eq!(projection.applied().unwrap().seq, 200, "the pointers say nothing of it");
    let handle = projection.start(world.journal.reader(), true).unwrap();
    let status = handle.status();
    let query = PageQuery { versions: 1..=9, limit: 9, descending: false };
    changing(status, || match handle.page(&target, &query) {
        Ok(page) => page == records[..9],
        Err(Unavailable::Doubt | Unavailable::Rebuilding) => false,
        Err(other) => panic!("{other}"),
    });
    world.settled(&handle);
    assert!(world.all_right(&handle));
    handle.close();
    assert_eq!(world.asides(), ["projection.quarantined-1"]);
}

#[test]
fn doubt_that_a_reader_raises_is_answered_by_a_rebuild() {
    let world = ProjectionWorld::with_records(200);
    let handle = world.start();
    world.settled(&handle);
    let target = identity("event.2", None);
    let records = &world.model[&target];
    let block = BlockKey::of(records[0].seq(), 3).key();
    let store = handle.shared().readable().unwrap();
    let value = store.get(&block).unwrap().unwrap();
    let mut places = versions::block(&block, &value).unwrap();
    places[2] = places[3];
    let mut batch = StoreBatch::default();
    batch.insert(&block, &crate::projection::tests::locations::block_of(&block, &places));
    store.apply(batch).unwrap();
    drop(store);
    let query = PageQuery { versions: 1..=9, limit: 9, descending: true };
    let status = handle.status();
    assert_eq!(handle.page(&target, &query), Err(Unavailable::Doubt));
    changing(status, || handle.page(&target, &query).is_ok());
    world.settled(&handle);
    assert!(world.all_right(&handle));
    handle.close();
    assert_eq!(world.asides(), ["projection.quarantined-1"]);
}

#[test]
fn the_scrub_finds_a_missing_id() {
    let world = ProjectionWorld::with_records(3_000);
    world.project();
    let id = world.model[&identity("event.3", None)][50].id();
    meddle(&world, |db| assert!(db.remove(keys::id_key(&id)).unwrap().is_some()));
    let projection = world.open();
    assert_eq!(projection.applied().unwrap().seq, 3_000);
    let handle = projection.start(world.journal.reader(), true).unwrap();
    let status = handle.status();
    changing(status, || match handle.by_id(&id) {
        Ok(IdLookup::Absent) => panic!("it is called absent"),
        Ok(IdLookup::Found(_)) => true,
        Ok(IdLookup::NotYet) | Err(_) => false,
    });
    world.settled(&handle);
    assert!(world.all_right(&handle));
    handle.close();
    assert_eq!(world.asides(), ["projection.quarantined-1"]);
}

#[test]
fn a_wrong_id_and_a_lost_history_are_found() {
    for lost in [false, true] {
        let world = ProjectionWorld::with_records(200);
        world.project();
        let records = &world.model[&identity("event.3", None)];
        let mut ids = records.iter().filter(|record| !is_named(record.seq()));
        let [id, other] = [(); 2].map(|()| keys::id_key(&ids.next().unwrap().id()));
        meddle(&world, |db| {
            if lost {
                assert!(db.remove(BlockKey::of(records[0].seq(), 1).key()).unwrap().is_some());
            } else {
                let place = keys::place(&other, &db.get(other).unwrap().unwrap()).unwrap();
                db.insert(id, keys::place_value(&id, &place).as_slice()).unwrap();
            }
        });
        world.heals();
        assert_eq!(world.asides(), ["projection.quarantined-1"]);
    }
}

#[test]
fn a_missing_identity_or_position_is_found_at_the_open() {
    let (world, copied) = projected(100);
    for key in [keys::APPLIED.to_vec(), keys::name_key(&identity("event.3", None))] {
        fs::remove_dir_all(world.dir()).unwrap();
        copy(&copied, &world.dir());
        meddle(&world, |db| assert!(db.remove(key).unwrap().is_some()));
        assert_eq!(world.open().applied(), None);
        world.heals();
    }
    assert_eq!(world.asides().len(), 2);
}

/// Of the versions that kept whole records, an entry for each version, and whole places in blocks.
#[test]
fn a_store_of_an_older_format_is_set_aside_with_that_reason() {
    let world = ProjectionWorld::with_records(100);
    world.project();
    let older = |format: u8, bytes: usize| {
        let mut value = vec![format];
        value.extend_from_slice(world.data_dir.log_id().as_bytes());
        value.extend_from_slice(&100u64.to_be_bytes());
        value.extend_from_slice(&world.chains[100]);
        value.resize(bytes, 0);
        keys::seal(keys::APPLIED, value)
    };
    let formats = [(0, 57, "older"), (1, 81, "older"), (2, 81, "older"), (4, 99, "newer")];
    for (format, bytes, reason) in formats {
        meddle(&world, |db| drop(db.insert(keys::APPLIED, older(format, bytes)).unwrap()));
        let projection = world.open();
        assert_eq!(projection.applied(), None);
        let StartingPoint::Doubt(said) = &projection.start else { panic!("it is believed") };
        assert_eq!(*said, format!("its format is {reason} than this version's"));
        drop(projection);
        let handle = world.start();
        world.settled(&handle);
        assert!(world.all_right(&handle));
        handle.close();
        fs::remove_dir_all(world.root.path().join("projection.quarantined-1")).unwrap();
        let store = fs::read_dir(world.dir()).unwrap().next().unwrap().unwrap().path();
        fs::rename(store, world.store()).unwrap();
    }
}

#[test]
fn a_projection_that_cannot_be_rebuilt_fails_with_the_reason() {
    let world = ProjectionWorld::with_records(10);
    world.project();
    // Where the directory would be moved to, one that is not empty cannot be replaced; and no
    // number is free.
    fs::create_dir_all(world.root.path().join(format!("projection.quarantined-{}/x", u64::MAX)))
        .unwrap();
    let handle = world.open().start(world.journal.reader(), false).unwrap();
    until(&handle, |status| matches!(status.phase, FollowPhase::Failed(_)));
    assert!(
        matches!(handle.state(), ProjectionState::Failed(reason) if reason.contains("rebuilt"))
    );
    assert_eq!(handle.latest(&identity("event.1", None)), Err(Unavailable::Failed));
    assert_eq!(block_on(handle.reached(1, PATIENCE)), Err(Unavailable::Failed));
    handle.close();
}

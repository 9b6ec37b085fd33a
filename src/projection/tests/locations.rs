//! Reads through the index into the log: index faults are distinguished from log damage.

use std::os::unix::fs::FileExt as _;
use std::sync::mpsc;

use crate::journal::{LOCATION_BYTES, Location, PackedList, Reader};
use crate::projection::follow::apply;
use crate::projection::follow::pointers::Pointers;
use crate::projection::read;
use crate::projection::read::{ReadRefusal, StoreView};
use crate::projection::store::position::Applied;
use crate::projection::store::versions::{BlockKey, HistoryHead, VersionLocations};
use crate::projection::store::{Store, keys, versions};
use crate::projection::tests::*;

/// A store with every record of the journal, applied in steps of this many records.
fn applied(world: &ProjectionWorld, name: &str, step: usize) -> (Store, Applied) {
    applied_forgetting(world, name, step, usize::MAX)
}

/// The same, but after each `each` steps the known heads are dropped.
fn applied_forgetting(
    world: &ProjectionWorld,
    name: &str,
    step: usize,
    each: usize,
) -> (Store, Applied) {
    let store = Store::open(&world.root.path().join(name), 8 << 20, mpsc::channel().0).unwrap();
    let (mut position, mut pointers, mut steps) = (Applied::default(), Pointers::default(), 0);
    let mut follower = world.journal.reader().follow(0);
    loop {
        let records = follower.next_located(64 << 10).unwrap();
        if records.is_empty() {
            return (store, position);
        }
        for records in records.chunks(step) {
            let log_id = world.data_dir.log_id();
            position = apply::step(&store, &mut pointers, log_id, position, records).unwrap();
            steps += 1;
            if steps % each == 0 {
                pointers = Pointers::default();
            }
        }
    }
}

/// Every key with its value.
fn contents(store: &Store) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let all = store.db().iter().map(Result::unwrap);
    all.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

fn one(store: &Store, log: &Reader, record: &Record) -> Result<Record, ReadRefusal> {
    let version = record.version();
    let query = PageQuery { versions: version..=version, limit: 1, descending: false };
    let page = read::page(StoreView { store, log }, record.identity(), &query);
    page.map(|mut page| page.remove(0))
}

/// The value of a block with these locations.
pub fn block_of(key: &[u8], locations: &[Location]) -> Vec<u8> {
    let mut list = PackedList::default();
    locations.iter().for_each(|location| list.push(location));
    keys::seal(key, list.into_bytes())
}

/// The only segment of the log, and the offsets in it of the record's meta and data parts.
fn part_offsets(world: &ProjectionWorld, record: &Record) -> (PathBuf, [u64; 2]) {
    let mut follower = world.journal.reader().follow(record.seq() - 1);
    let location = follower.next_located(1).unwrap().remove(0).location.encode();
    let parts_at = u64::from_be_bytes(*location[20..].first_chunk().unwrap());
    let meta = u16::from_be_bytes(*location[28..].first_chunk().unwrap());
    let path = world.data_dir.path().join("journal/00000000000000000001.seg");
    (path, [parts_at, parts_at + 20 + u64::from(meta)])
}

/// Flips a bit of one byte of a file.
fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
}

#[test]
fn entries_do_not_depend_on_step_sizes() {
    let mut world = ProjectionWorld::with_records(1_500);
    world.append(&[(identity("late", Some("bob")), b"1".to_vec())]);
    let (whole, position) = applied(&world, "whole", 1_000);
    for (name, each) in [("steps", usize::MAX), ("forgetting", 1), ("now and then", 5)] {
        let (steps, same) = applied_forgetting(&world, name, 7, each);
        assert_eq!(position, same);
        assert_eq!(contents(&whole), contents(&steps));
    }
    let encoded = (1..=1_501).filter(|seq| id_encodes_location(*seq)).count();
    let of_kind = |kind: u8| contents(&whole).keys().filter(|key| key[0] == kind).count();
    let blocks = world.model.values().map(|records| records.len() / 16).sum::<usize>();
    assert_eq!(of_kind(keys::HISTORY), blocks);
    assert_eq!(of_kind(keys::IDS), 1_501 - encoded);
    assert_eq!(of_kind(keys::NAMES), world.model.len());
    for (key, value) in contents(&whole) {
        // Fourteen identities in turn, a record a millisecond: 11 or 12 bytes each, and 19 for the
        // first.
        let list = |versions: usize| versions * 11..=versions * 12 + versions.min(1) * 7;
        let expected = match key[0] {
            keys::HISTORY => list(16),
            keys::IDS => LOCATION_BYTES..=LOCATION_BYTES,
            keys::NAMES => {
                let versions = list(world.model[&keys::identity(&key).unwrap()].len() % 16);
                40 + versions.start()..=40 + versions.end()
            }
            _ => 81..=81,
        };
        assert!(expected.contains(&(value.len() - 4)), "{}: {expected:?}", value.len());
    }
}

#[test]
fn any_changed_byte_of_an_entry_is_an_index_fault() {
    let world = ProjectionWorld::with_records(250);
    let (store, _) = applied(&world, "store", 1_000);
    let log = world.journal.reader();
    let of = identity("event.3", None);
    let records = &world.model[&of];
    let (blocked, open) = (&records[2], &records[20]);
    assert!((17..32).contains(&records.len()), "{}", records.len());
    let block = BlockKey::of(records[0].seq(), 3).key();
    let id = keys::id_key(
        &records.iter().find(|record| !id_encodes_location(record.seq())).unwrap().id(),
    );
    for (key, record) in [(block.to_vec(), blocked), (keys::name_key(&of), open), (id.into(), open)]
    {
        assert_eq!(one(&store, &log, record).unwrap(), *record);
        let value = store.get(&key).unwrap().unwrap();
        for at in 0..value.len() {
            let mut changed = value.to_vec();
            changed[at] ^= 0x40;
            put(&store, &key, &changed);
            let refusal = match key[0] {
                keys::IDS => {
                    let id = Uuid::from_slice(&key[1..]).unwrap();
                    read::by_id(StoreView { store: &store, log: &log }, &id).unwrap_err()
                }
                _ => one(&store, &log, record).unwrap_err(),
            };
            assert!(matches!(refusal, ReadRefusal::Index(_)), "byte {at}: {refusal:?}");
        }
        put(&store, &key, &value);
    }
}

/// The checksum is right, but the entry is not what the log yields.
#[test]
fn entry_with_a_wrong_location_is_an_index_fault() {
    let world = ProjectionWorld::with_records(250);
    let (store, _) = applied(&world, "store", 1_000);
    let log = world.journal.reader();
    let records = &world.model[&identity("event.3", None)];
    let key = BlockKey::of(records[0].seq(), 3).key();
    let value = store.get(&key).unwrap().unwrap();
    let locations = versions::decode_block(&key, &value).unwrap();
    let put_locations = |locations: &[Location]| put(&store, &key, &block_of(&key, locations));
    let refused = || matches!(one(&store, &log, &records[2]), Err(ReadRefusal::Index(_)));
    for location in [locations[0], Location::decode(&[0xff; LOCATION_BYTES])] {
        let mut changed = locations.clone();
        changed[2] = location;
        put_locations(&changed);
        assert!(refused(), "of another record, or outside of the log");
    }
    put_locations(&locations[..15]);
    assert!(refused(), "a location is missing");
    put_locations(&[&locations[..], &locations[..1]].concat());
    assert!(refused(), "there is an extra location");
    put_locations(&locations);
    assert_eq!(store.get(&key).unwrap().unwrap(), value);
    assert!(!refused());
}

#[test]
fn version_is_found_in_its_full_block_or_in_the_open_block() {
    let mut world = ProjectionWorld::new();
    let of = identity("event", None);
    for versions in 1..=50 {
        world.append(&[(of.clone(), b"1".to_vec())]);
        let (store, _) = applied(&world, &format!("store {versions}"), 1_000);
        let key = keys::name_key(&of);
        let mut locations = VersionLocations::of(&store, &key).unwrap().unwrap();
        assert_eq!(locations.pointer().version, versions);
        assert_eq!(locations.pointer().full_blocks(), versions / 16);
        let mut log = world.journal.reader().follow(0);
        let located = log.next_located(1 << 20).unwrap();
        for (version, located) in (1..).zip(&located) {
            assert_eq!(locations.location(version).unwrap(), located.location);
        }
        assert_eq!(located.len() as Version, versions);
        for no_version in [0, versions + 1, Version::MAX] {
            assert!(locations.location(no_version).is_err());
        }
        let value = store.get(&key).unwrap().unwrap();
        let head = HistoryHead::decode(&key, &value).unwrap();
        assert_eq!(head.encode(&key), *value);
        // Under the key of another identity, with part of a location after it, or with one location
        // too many or too few.
        assert!(HistoryHead::decode(&keys::name_key(&identity("other", None)), &value).is_err());
        let unsealed = keys::unseal(&key, &value).unwrap();
        let more = [unsealed, &[0; 10]].concat();
        let first = versions as usize / 16 * 16;
        let open = located[first..].iter().map(|located| located.location).collect::<Vec<_>>();
        let fewer = open.split_last().map(|(_, fewer)| {
            let mut list = PackedList::default();
            fewer.iter().for_each(|location| list.push(location));
            [&unsealed[..40], list.bytes()].concat()
        });
        for bytes in [Some(more), Some(unsealed[..unsealed.len() - 1].to_vec()), fewer] {
            let Some(bytes) = bytes else { continue };
            let value = keys::seal(&key, bytes);
            assert!(HistoryHead::decode(&key, &value).is_err());
            put(&store, &key, &value);
            assert!(VersionLocations::of(&store, &key).is_err());
        }
    }
}

#[test]
fn any_changed_byte_of_a_record_is_log_damage() {
    let world = ProjectionWorld::with_records(40);
    let (store, _) = applied(&world, "store", 1_000);
    let log = world.journal.reader();
    let record = &world.model[&identity("event.3", None)][2];
    let (path, [meta_at, data_at]) = part_offsets(&world, record);
    let data_end = data_at + 20 + record.data().len() as u64;
    for at in meta_at..data_end {
        flip(&path, at);
        let refusal = one(&store, &log, record).unwrap_err();
        assert!(matches!(refusal, ReadRefusal::Log(_)), "byte {at}: {refusal:?}");
        flip(&path, at);
    }
    assert_eq!(one(&store, &log, record).unwrap(), *record);
}

#[test]
fn record_damaged_in_the_log_is_refused_and_the_index_is_kept() {
    let world = ProjectionWorld::with_records(100);
    let handle = world.start();
    world.wait_settled(&handle);
    let target = identity("event.2", None);
    let record = &world.model[&target][4];
    let (path, [meta_at, data_at]) = part_offsets(&world, record);
    let query = |versions| PageQuery { versions, limit: 9, descending: false };
    let id =
        world.model[&target].iter().find(|record| !id_encodes_location(record.seq())).unwrap().id();
    for at in [data_at + 21, meta_at + 30] {
        flip(&path, at);
        for _ in 0..10 {
            assert_eq!(handle.page(&target, &query(1..=9)), Err(Unavailable::Damaged));
        }
        assert_eq!(handle.page(&target, &query(1..=4)).unwrap().len(), 4);
        assert!(matches!(handle.by_id(&id), Ok(IdLookup::Found(_))));
        assert_eq!(handle.state(), ProjectionState::Ready);
        // A file that is repaired is read at once.
        flip(&path, at);
        assert_eq!(handle.page(&target, &query(5..=5)), Ok(vec![record.clone()]));
    }
    assert!(world.check_reads(&handle));
    handle.close();
    assert!(world.quarantined().is_empty());
}

/// Groups of one record and of thousands, in several segments, with one history through all of
/// them.
#[test]
fn pages_span_segments_and_large_groups() {
    let mut world = ProjectionWorld::new();
    let (through, other) = (identity("through", None), identity("other", Some("ann")));
    for round in 0..6 {
        let group: Vec<_> = (0..4_096)
            .map(|n| match n % 3 {
                0 => (through.clone(), format!("{{\"round\":{round},\"n\":{n}}}").into_bytes()),
                _ => (other.clone(), vec![b'7'; 1 + n % 200]),
            })
            .collect();
        world.append_group(&group);
        world.append(&[(through.clone(), vec![b'1'; 300_000])]);
    }
    let segments = fs::read_dir(world.data_dir.path().join("journal")).unwrap();
    let segments = segments.map(|entry| entry.unwrap().path());
    let segments = segments.filter(|path| path.extension().is_some_and(|name| name == "seg"));
    assert!(segments.count() > 3);
    let handle = world.start();
    world.wait_settled(&handle);
    for descending in [false, true] {
        let (mut all, mut left) = (Vec::new(), 1..=Version::MAX);
        loop {
            let query = PageQuery { versions: left.clone(), limit: 1_000, descending };
            let page = handle.page(&through, &query).unwrap();
            let Some(last) = page.last().map(Record::version) else { break };
            left = if descending { 1..=last - 1 } else { last + 1..=Version::MAX };
            all.extend(page);
        }
        if descending {
            all.reverse();
        }
        assert!(all == world.model[&through]);
    }
    handle.close();
}

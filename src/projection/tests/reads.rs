//! The answers of reads.

use crate::projection::read::NAMES_SCANNED_MAX;
use crate::projection::tests::*;

fn page(
    handle: &ProjectionHandle,
    versions: (Version, Version),
    limit: usize,
    descending: bool,
) -> Vec<Version> {
    let query = PageQuery { versions: versions.0..=versions.1, limit, descending };
    let records = handle.page(&identity("paged", None), &query).unwrap();
    records.iter().map(Record::version).collect()
}

#[test]
fn pages_respect_range_limit_and_direction() {
    let mut world = ProjectionWorld::with_records(30);
    let paged: Vec<_> =
        (1..=20).map(|n| (identity("paged", None), n.to_string().into_bytes())).collect();
    world.append(&paged);
    let handle = world.start();
    world.wait_settled(&handle);
    assert_eq!(page(&handle, (1, 3), 10, false), [1, 2, 3]);
    assert_eq!(page(&handle, (0, u64::MAX), 2, false), [1, 2]);
    assert_eq!(page(&handle, (19, u64::MAX), 10, false), [19, 20]);
    assert_eq!(page(&handle, (1, u64::MAX), 3, true), [20, 19, 18]);
    assert_eq!(page(&handle, (4, 5), 10, true), [5, 4]);
    for (first, last, limit) in [(21, 30, 10), (5, 4, 10), (0, 0, 10), (1, 20, 0)] {
        assert!(page(&handle, (first, last), limit, false).is_empty());
        assert!(page(&handle, (first, last), limit, true).is_empty());
    }
    handle.close();
}

#[test]
fn page_of_large_records_is_cut_but_never_empty() {
    let mut world = ProjectionWorld::new();
    let large = format!("\"{}\"", "x".repeat(5 << 20)).into_bytes();
    let small = format!("\"{}\"", "y".repeat(1 << 20)).into_bytes();
    let paged = identity("paged", None);
    world.append(&[(paged.clone(), large)]);
    world.append(&vec![(paged, small); 6]);
    let handle = world.start();
    world.wait_settled(&handle);
    let cut = |handle: &ProjectionHandle| {
        assert_eq!(page(handle, (1, 9), 10, false), [1]);
        assert_eq!(page(handle, (2, 9), 10, false), [2, 3, 4, 5]);
        assert_eq!(page(handle, (6, 9), 10, false), [6, 7]);
    };
    cut(&handle);
    handle.close();
    let handle = world.start();
    world.wait_settled(&handle);
    cut(&handle);
    handle.close();
    assert!(world.quarantined().is_empty());
}

#[test]
fn versions_are_found_by_time_even_when_several_share_it() {
    let mut world = ProjectionWorld::with_records(200);
    world.append(&[(identity("once", None), b"1".to_vec())]);
    let handle = world.start();
    world.wait_settled(&handle);
    for (identity, records) in &world.model {
        let first = records[0].time().millis();
        for millis in first - 2..=world.time + 2 {
            let time = Timestamp::from_millis(millis);
            let at = records.iter().rfind(|record| record.time() <= time).map(Record::version);
            let since = records.iter().find(|record| record.time() >= time).map(Record::version);
            assert_eq!(handle.version_at(identity, time), Ok(at));
            assert_eq!(handle.first_version_since(identity, time), Ok(since));
        }
    }
    let unknown = identity("unknown", None);
    assert_eq!(handle.version_at(&unknown, Timestamp::from_millis(1)), Ok(None));
    assert_eq!(handle.first_version_since(&unknown, Timestamp::from_millis(1)), Ok(None));
    handle.close();
}

#[test]
fn names_are_ordered_paged_and_filtered() {
    let mut world = ProjectionWorld::with_records(100);
    world.append(&[
        (identity("event", None), b"1".to_vec()),
        (identity("event.1.sub", Some("ann")), b"1".to_vec()),
        (identity("broker:open", None), b"1".to_vec()),
    ]);
    let handle = world.start();
    world.wait_settled(&handle);
    for limit in [1, 2, 3, 100] {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = handle
                .names(after.as_ref(), limit, |name| !name.event.is_system() && name.to.is_none())
                .unwrap();
            assert!(page.names.len() <= limit);
            all.extend(page.names.into_iter().map(|(identity, _)| identity));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let public = world.model.keys();
        let public = public.filter(|name| !name.event.is_system() && name.to.is_none());
        assert_eq!(all.iter().collect::<Vec<_>>(), public.collect::<Vec<_>>());
    }
    handle.close();
}

#[test]
fn names_scans_a_bounded_number_of_identities_per_call() {
    let mut world = ProjectionWorld::new();
    let many = NAMES_SCANNED_MAX + 10;
    let names: Vec<_> =
        (0..many).map(|n| (identity(&format!("n{n:06}"), None), b"0".to_vec())).collect();
    world.append(&names);
    let handle = world.start();
    world.wait_settled(&handle);
    let page = handle.names(None, 5, |_| false).unwrap();
    assert!(page.names.is_empty());
    assert_eq!(page.next, Some(names[NAMES_SCANNED_MAX - 1].0.clone()));
    let page = handle.names(page.next.as_ref(), 50, |_| true).unwrap();
    assert_eq!((page.names.len(), page.next), (10, None));
    handle.close();
}

#[test]
fn private_identity_is_distinct_from_the_public_one() {
    let mut world = ProjectionWorld::new();
    let identities = [identity("a", None), identity("a", Some("ann")), identity("a", Some("bob"))];
    for (n, identity) in identities.iter().enumerate() {
        world.append(&vec![(identity.clone(), n.to_string().into_bytes()); n + 1]);
    }
    let handle = world.start();
    world.wait_settled(&handle);
    for (n, identity) in identities.iter().enumerate() {
        assert_eq!(handle.latest(identity).unwrap().unwrap().version, n as Version + 1);
    }
    assert_eq!(handle.latest(&identity("a", Some("eve"))), Ok(None));
    assert!(world.check_reads(&handle));
    handle.close();
}

#[test]
fn concurrent_readers_see_complete_answers() {
    let mut world = ProjectionWorld::with_records(50);
    let handle = world.start();
    world.wait_settled(&handle);
    let reader = std::thread::spawn({
        let handle = handle.clone();
        move || {
            let (busy, mut reads) = (identity("busy", None), 0);
            while handle.applied() < 12_050 {
                for descending in [false, true] {
                    let before = handle.latest(&busy).unwrap().map_or(0, |latest| latest.version);
                    let query = PageQuery { versions: 1..=u64::MAX, limit: 20_000, descending };
                    let records = handle.page(&busy, &query).unwrap();
                    assert!(records.len() as Version >= before);
                    let names = handle.names(None, 100_000, |_| true).unwrap();
                    assert!(names.names.len() >= 14);
                    reads += 1;
                }
            }
            reads
        }
    });
    for n in 0..60 {
        let group: Vec<_> = (0..200)
            .map(|m| match m % 2 {
                0 => (identity("busy", None), b"1".to_vec()),
                _ => (identity(&format!("other.{n}.{m}"), None), b"2".to_vec()),
            })
            .collect();
        world.append(&group);
    }
    assert!(reader.join().unwrap() > 0);
    world.wait_settled(&handle);
    assert!(world.check_reads(&handle));
    handle.close();
}

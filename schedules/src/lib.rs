//! The hub, the teller and subscribers under schedules that a machine seldom takes.
//!
//! The modules are Broker's own sources; only `sync` is another, whose locks and atomics Shuttle
//! schedules. A wake-up that is lost leaves every thread waiting, which Shuttle reports with the
//! schedule that led there.

// Clippy would build them with their tests.
#![cfg(not(test))]
#![allow(clippy::all, reason = "these modules are linted where they belong")]
#![allow(dead_code, unused_imports, reason = "what these modules offer to the rest of Broker")]

#[path = "../../src/audit/mod.rs"]
mod audit;
#[path = "../../src/record/mod.rs"]
mod record;
#[path = "../../src/subscription/mod.rs"]
mod subscription;

mod sync {
    pub mod atomic {
        pub use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    }

    pub use shuttle::sync::{Condvar, Mutex, MutexGuard, RwLock};
    pub use std::sync::{Arc, PoisonError};
}

use std::future::poll_fn;
use std::sync::Arc;

use shuttle::future::block_on;
use shuttle::thread;
use uuid::Uuid;

use audit::Salts;
use record::{Epoch, FilterSet, Identity, Name, Record, RecordParts, Seq, Timestamp};
use subscription::latest::LatestRecords;
use subscription::{Hub, HubOptions, Replay, Selector, Subscriber, SubscriptionStart};

/// What happens beside each other in one run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Inserts of `a`; the last is seen by everybody, or the run does not end.
    pub inserts: u64,
    /// Bytes that followers may be behind: little makes them lag.
    pub window_bytes_max: usize,
}

impl Run {
    /// Somebody inserts while subscribers of two views join, follow, lag and leave; then the hub
    /// closes.
    pub fn live(self) {
        let options = HubOptions { window_bytes_max: self.window_bytes_max, epoch: Epoch(1) };
        let hub = Hub::new(LatestRecords::default(), options);
        let dispatcher = hub.dispatcher();
        let dispatcher = thread::spawn(move || dispatcher.run());
        let subscribers: Vec<_> = [&["a"][..], &["a"], &[]]
            .into_iter()
            .map(|filters| {
                let hub = hub.clone();
                thread::spawn(move || self.follow(&hub, filters))
            })
            .collect();
        for seq in 1..=self.inserts {
            hub.commit(&[record(seq)]);
            hub.wake_dispatcher();
        }
        let waiting: Vec<_> = subscribers.into_iter().map(|one| one.join().unwrap()).collect();
        let ended = thread::spawn(move || {
            waiting.into_iter().for_each(|mut subscriber| {
                assert!(block_on(poll_fn(|cx| subscriber.poll_step(cx))).is_none());
            });
        });
        hub.close();
        ended.join().unwrap();
        dispatcher.join().unwrap();
        assert_eq!(hub.subscribers(), 0);
    }

    /// Follows until the last insert; leaves once on the way and comes back where it was.
    fn follow(self, hub: &Arc<Hub>, filters: &[&str]) -> Subscriber {
        let mut subscriber = subscribe(hub, filters, 0);
        let (mut position, mut synced, mut left) = (0, false, false);
        while position < self.inserts || !synced {
            let step = block_on(poll_fn(|cx| subscriber.poll_step(cx)));
            let step = step.expect("the hub is open").expect("no log is read");
            for record in step.records {
                assert!(record.seq() > position, "positions rise strictly");
                position = record.seq();
            }
            synced |= step.control.is_some();
            if synced && !left {
                left = true;
                drop(subscriber);
                subscriber = subscribe(hub, filters, position);
                synced = false;
            }
        }
        subscriber
    }
}

fn subscribe(hub: &Arc<Hub>, filters: &[&str], position: Seq) -> Subscriber {
    let filters = FilterSet::parse(filters, 10).expect("they are filters");
    let start = SubscriptionStart { position, reset: false, replay: Replay::Latest };
    hub.subscribe(Selector::new(filters, None), start)
}

fn record(seq: Seq) -> Arc<Record> {
    let event = Name::stored("a").expect("it is a name");
    Arc::new(Record::new(RecordParts {
        seq,
        identity: Identity { event, to: None },
        version: seq,
        id: Uuid::nil(),
        time: Timestamp::from_millis(0),
        author: None,
        salts: Salts { meta: [0; 16], data: [0; 16] },
        data: b"1",
    }))
}

//! Subscriptions in thread orders that a machine seldom takes: with `RUSTFLAGS="--cfg shuttle"`,
//! Shuttle schedules their locks and atomics. A lost wake-up leaves every thread waiting, which it
//! reports with the schedule that led there.
#![cfg(shuttle)]

use std::future::poll_fn;
use std::sync::Arc;

use broker::audit::Salts;
use broker::record::{Epoch, FilterSet, Identity, Name, Record, RecordParts, Seq, Timestamp};
use broker::subscription::latest::LatestRecords;
use broker::subscription::{Hub, HubOptions, Replay, Selector, Subscriber, SubscriptionStart};
use shuttle::future::block_on;
use shuttle::thread;
use uuid::Uuid;

/// Schedules to try of each strategy.
const SCHEDULES: usize = 500;
/// Thread switches at which a bug may hide, for the strategy that looks for few of them.
const SWITCHES: usize = 3;

#[test]
fn followers_see_the_last_insert_and_the_end() {
    let scenario = Scenario { inserts: 4, window_bytes_max: 1 << 20 };
    shuttle::check_random(move || scenario.run(), SCHEDULES);
    shuttle::check_pct(move || scenario.run(), SCHEDULES, SWITCHES);
}

/// The window has room for one record, so a subscriber lags unless it reads at once.
#[test]
fn lagging_subscribers_see_the_last_insert_and_the_end() {
    let scenario = Scenario { inserts: 6, window_bytes_max: 1 };
    shuttle::check_random(move || scenario.run(), SCHEDULES);
    shuttle::check_pct(move || scenario.run(), SCHEDULES, SWITCHES);
}

/// One thread inserts while subscribers of two groups join, follow, lag and leave; then the hub
/// closes.
#[derive(Clone, Copy)]
struct Scenario {
    /// Inserts of `a`. The scenario ends only if every subscriber sees the last one.
    inserts: u64,
    window_bytes_max: usize,
}

impl Scenario {
    fn run(self) {
        let options = HubOptions { window_bytes_max: self.window_bytes_max, epoch: Epoch(1) };
        let hub = Hub::new(LatestRecords::default(), options);
        let dispatcher = hub.dispatcher();
        let dispatcher = thread::spawn(move || dispatcher.run());
        let followers: Vec<_> = [&["a"][..], &["a"], &[]]
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
        let subscribers: Vec<_> = followers
            .into_iter()
            .map(|follower| follower.join().expect("a follower panicked"))
            .collect();
        let ended = thread::spawn(move || {
            for mut subscriber in subscribers {
                assert!(block_on(poll_fn(|cx| subscriber.poll_step(cx))).is_none());
            }
        });
        hub.close();
        ended.join().expect("a subscriber did not end");
        dispatcher.join().expect("the dispatcher panicked");
        assert_eq!(hub.subscribers(), 0);
    }

    /// Follows until the last insert; leaves once on the way and resumes at its position.
    fn follow(self, hub: &Arc<Hub>, filters: &[&str]) -> Subscriber {
        let mut subscriber = subscribe(hub, filters, 0);
        let (mut position, mut is_synced, mut has_left) = (0, false, false);
        while position < self.inserts || !is_synced {
            let step = block_on(poll_fn(|cx| subscriber.poll_step(cx)));
            let step = step.expect("the hub is open").expect("no log is read");
            for record in step.records {
                assert!(record.seq() > position, "positions rise strictly");
                position = record.seq();
            }
            is_synced |= step.control.is_some();
            if is_synced && !has_left {
                has_left = true;
                drop(subscriber);
                subscriber = subscribe(hub, filters, position);
                is_synced = false;
            }
        }
        subscriber
    }
}

fn subscribe(hub: &Arc<Hub>, filters: &[&str], position: Seq) -> Subscriber {
    let filters = FilterSet::parse(filters, 10).expect("valid filters");
    let start = SubscriptionStart { position, reset: false, replay: Replay::Latest };
    hub.subscribe(Selector::new(filters, None), start)
}

fn record(seq: Seq) -> Arc<Record> {
    Arc::new(Record::new(RecordParts {
        seq,
        identity: Identity { event: Name::parse("a").expect("a valid name"), to: None },
        version: seq,
        id: Uuid::nil(),
        time: Timestamp::from_millis(0),
        author: None,
        salts: Salts { meta: [0; 16], data: [0; 16] },
        data: b"1",
    }))
}

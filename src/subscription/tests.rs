//! The hub and its subscribers against simple maps: random commits, and clients that join, lag,
//! leave, resume and change their filters.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use proptest::prelude::*;
use uuid::Uuid;

use crate::audit::Salts;
use crate::record::{
    Epoch, FilterSet, Identity, Name, Record, RecordParts, Seq, Timestamp, User, Version,
};
use crate::subscription::dispatcher::Dispatcher;
use crate::subscription::hub::{Hub, HubOptions};
use crate::subscription::latest::LatestRecords;
use crate::subscription::log_reader::LogSource;
use crate::subscription::selector::Selector;
use crate::subscription::subscriber::{
    ControlEvent, OpenLogSource, Replay, Subscriber, SubscriptionStart,
};

/// Small, so that a few records are enough to lag.
const WINDOW_BYTES: usize = 2_000;

type SharedRecords = Arc<Mutex<Vec<Arc<Record>>>>;

struct HubWorld {
    hub: Arc<Hub>,
    dispatcher: Dispatcher,
    log: SharedRecords,
    versions: HashMap<Identity, Version>,
}

/// The log as a subscriber with `Replay::All` reads it.
struct TestLog {
    log: SharedRecords,
    position: Seq,
}

impl LogSource for TestLog {
    fn next(&mut self, _: usize) -> Result<Vec<Record>, String> {
        let log = self.log.lock().unwrap();
        let from = usize::try_from(self.position).unwrap();
        let records: Vec<_> = log[from..].iter().take(3).map(|record| (**record).clone()).collect();
        self.position += records.len() as u64;
        Ok(records)
    }

    fn position(&self) -> Seq {
        self.position
    }
}

impl HubWorld {
    fn new() -> Self {
        let options = HubOptions { window_bytes_max: WINDOW_BYTES, epoch: Epoch(1) };
        let hub = Hub::new(LatestRecords::default(), options);
        let dispatcher = hub.dispatcher();
        Self { hub, dispatcher, log: SharedRecords::default(), versions: HashMap::new() }
    }

    fn insert(&mut self, event: &str, to: Option<&str>) {
        let event = match event {
            "broker:" => Name::system("test"),
            event => Name::parse(event).unwrap(),
        };
        let identity = Identity { event, to: to.map(|user| User::parse(user).unwrap()) };
        let version = self.versions.entry(identity.clone()).or_default();
        *version += 1;
        let mut log = self.log.lock().unwrap();
        let seq = log.len() as u64 + 1;
        let record = Arc::new(Record::new(RecordParts {
            seq,
            identity,
            version: *version,
            id: Uuid::from_u128(u128::from(seq)),
            time: Timestamp::from_millis(seq),
            author: None,
            salts: Salts { meta: [0; 16], data: [0; 16] },
            data: b"1",
        }));
        log.push(record.clone());
        self.hub.commit(&[record]);
    }

    fn open_log(&self) -> OpenLogSource {
        let log = self.log.clone();
        Arc::new(move |position| Box::new(TestLog { log: log.clone(), position }))
    }

    fn subscribe(&self, selector: &Selector, mode: Mode, position: Seq) -> Subscriber {
        let replay = match mode {
            Mode::All => Replay::All(self.open_log()),
            Mode::Latest => Replay::Latest,
        };
        self.hub.subscribe(selector.clone(), SubscriptionStart { position, reset: false, replay })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    All,
    Latest,
}

/// A client and everything it received.
struct ModelClient {
    selector: Selector,
    mode: Mode,
    subscriber: Option<Subscriber>,
    position: Seq,
    held: BTreeMap<Identity, Version>,
    seen: Vec<Seq>,
}

impl ModelClient {
    fn new(world: &HubWorld, selector: Selector, mode: Mode) -> Self {
        let subscriber = Some(world.subscribe(&selector, mode, 0));
        Self { selector, mode, subscriber, position: 0, held: BTreeMap::new(), seen: Vec::new() }
    }

    /// Takes up to `steps` steps.
    async fn take(&mut self, steps: usize) {
        for _ in 0..steps {
            let Some(subscriber) = &mut self.subscriber else { return };
            // A read of the log is pending while another thread reads: only a subscriber that
            // follows has nothing to take.
            let step = poll_fn(|cx| match subscriber.poll_step(cx) {
                Poll::Ready(step) => Poll::Ready(step),
                Poll::Pending if subscriber.is_following() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            let Some(step) = step.await else { return };
            let step = step.unwrap();
            for record in step.records {
                assert!(record.seq() > self.position, "positions rise strictly");
                assert!(self.selector.matches(&record), "the record does not match its selector");
                self.position = record.seq();
                self.seen.push(record.seq());
                let before = self.held.insert(record.identity().clone(), record.version());
                assert!(before.unwrap_or(0) < record.version(), "versions never go backwards");
            }
            if let Some(ControlEvent::Synced { .. }) = step.control {
                self.position = self.position.max(self.subscriber.as_ref().unwrap().position());
            }
        }
    }

    /// Checks that a client that caught up has the latest version of everything it may see and
    /// nothing else, and with `Mode::All` that it received every version.
    fn check(&self, world: &HubWorld) {
        let log = world.log.lock().unwrap();
        let matching = log.iter().filter(|record| self.selector.matches(record));
        let mut expected = BTreeMap::new();
        for record in matching.clone() {
            expected.insert(record.identity().clone(), record.version());
        }
        assert_eq!(self.held, expected);
        if self.mode == Mode::All {
            assert_eq!(self.seen, matching.map(|record| record.seq()).collect::<Vec<_>>());
        }
    }
}

#[derive(Clone, Debug)]
enum HubAction {
    Insert { event: usize, to: usize },
    Dispatch,
    Join { filters: usize, user: usize, all: bool },
    Take { client: usize, steps: usize },
    Leave { client: usize },
    Resume { client: usize },
    ChangeSelector { client: usize, filters: usize },
}

const EVENTS: [&str; 5] = ["a", "b", "a.b", "a.c.d", "broker:"];
const USERS: [Option<&str>; 3] = [None, Some("ann"), Some("bob")];
const FILTERS: [&[&str]; 6] = [&[], &["a"], &["a", "b"], &["a.*"], &["a.>"], &["b", "a.>"]];

fn selector(filters: usize, user: usize) -> Selector {
    let filters = FilterSet::parse(FILTERS[filters], 10).unwrap();
    Selector::new(filters, USERS[user].map(|user| User::parse(user).unwrap()))
}

fn actions() -> impl Strategy<Value = Vec<HubAction>> {
    let action = prop_oneof![
        10 => (0..EVENTS.len(), 0..USERS.len())
            .prop_map(|(event, to)| HubAction::Insert { event, to }),
        4 => Just(HubAction::Dispatch),
        2 => (0..FILTERS.len(), 0..USERS.len(), prop::bool::weighted(0.3))
            .prop_map(|(filters, user, all)| HubAction::Join { filters, user, all }),
        5 => (0usize..6, 1usize..4).prop_map(|(client, steps)| HubAction::Take { client, steps }),
        1 => (0usize..6).prop_map(|client| HubAction::Leave { client }),
        2 => (0usize..6).prop_map(|client| HubAction::Resume { client }),
        1 => (0usize..6, 0..FILTERS.len())
            .prop_map(|(client, filters)| HubAction::ChangeSelector { client, filters }),
    ];
    prop::collection::vec(action, 1..120)
}

async fn run(actions: Vec<HubAction>) {
    let mut world = HubWorld::new();
    let mut clients: Vec<ModelClient> = Vec::new();
    for action in actions {
        match action {
            HubAction::Insert { event, to } => world.insert(EVENTS[event], USERS[to]),
            HubAction::Dispatch => world.dispatcher.dispatch_pending(),
            HubAction::Join { filters, user, all } => {
                let mode = if all { Mode::All } else { Mode::Latest };
                clients.push(ModelClient::new(&world, selector(filters, user), mode));
            }
            HubAction::Take { client, steps } => {
                if let Some(client) = clients.get_mut(client) {
                    client.take(steps).await;
                }
            }
            HubAction::Leave { client } => {
                if let Some(client) = clients.get_mut(client) {
                    client.subscriber = None;
                }
            }
            HubAction::Resume { client } => {
                if let Some(client) = clients.get_mut(client) {
                    let (selector, mode) = (&client.selector, client.mode);
                    client.subscriber = Some(world.subscribe(selector, mode, client.position));
                }
            }
            HubAction::ChangeSelector { client, filters } => {
                if let Some(client) = clients.get_mut(client) {
                    // A position is valid for one selector only.
                    let selector = selector(filters, 0);
                    *client = ModelClient::new(&world, selector, client.mode);
                }
            }
        }
    }
    world.dispatcher.dispatch_pending();
    for client in &mut clients {
        if client.subscriber.is_none() {
            let subscriber = world.subscribe(&client.selector, client.mode, client.position);
            client.subscriber = Some(subscriber);
        }
        client.take(usize::MAX).await;
        client.check(&world);
    }
    drop(clients);
    assert_eq!(world.hub.subscribers(), 0);
    assert!(world.hub.has_no_groups(), "a group goes with its last subscriber");
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_idle_client_holds_the_latest_records_it_may_see(actions in actions()) {
        block_on(run(actions));
    }
}

#[test]
fn a_subscriber_that_keeps_up_gets_every_version() {
    block_on(async {
        let mut world = HubWorld::new();
        let mut client = ModelClient::new(&world, selector(0, 0), Mode::Latest);
        client.take(usize::MAX).await;
        for _ in 0..50 {
            world.insert("a", None);
            world.insert("a", None);
            world.dispatcher.dispatch_pending();
            client.take(usize::MAX).await;
        }
        assert_eq!(client.seen, (1..=100).collect::<Vec<_>>());
    });
}

#[test]
fn a_lagging_subscriber_catches_up_with_latest_values_only() {
    block_on(async {
        let mut world = HubWorld::new();
        let mut client = ModelClient::new(&world, selector(0, 0), Mode::Latest);
        client.take(usize::MAX).await;
        for _ in 0..100 {
            world.insert("a", None);
            world.insert("b", None);
            world.dispatcher.dispatch_pending();
        }
        client.take(usize::MAX).await;
        assert_eq!(client.seen, [199, 200]);
    });
}

#[test]
fn a_sleeping_subscriber_is_woken_once_for_a_burst() {
    struct Count(std::sync::atomic::AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let mut world = HubWorld::new();
    let count = Arc::new(Count(0.into()));
    let waker = count.clone().into();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut subscriber = world.subscribe(&selector(1, 0), Mode::Latest, 0);
    assert!(subscriber.poll_step(&mut cx).is_ready(), "synced");
    assert!(subscriber.poll_step(&mut cx).is_pending());
    world.insert("b", None);
    world.dispatcher.dispatch_pending();
    assert_eq!(count.0.load(std::sync::atomic::Ordering::SeqCst), 0, "another event wakes nobody");
    (0..5).for_each(|_| world.insert("a", None));
    world.dispatcher.dispatch_pending();
    assert_eq!(count.0.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn closing_the_hub_ends_every_subscription() {
    block_on(async {
        let world = HubWorld::new();
        let mut subscriber = world.subscribe(&selector(0, 0), Mode::Latest, 0);
        world.hub.close();
        assert!(poll_fn(|cx| subscriber.poll_step(cx)).await.is_none());
    });
}

/// Selectors for all users, which the bridge to RabbitMQ may have.
#[cfg(feature = "rabbitmq")]
mod all_users {
    use futures_util::FutureExt as _;

    use super::*;

    fn poll(subscriber: &mut Subscriber) -> Option<Vec<Seq>> {
        let step = poll_fn(|cx| subscriber.poll_step(cx)).now_or_never()?;
        Some(step.unwrap().unwrap().records.iter().map(|record| record.seq()).collect())
    }

    /// Private records are inserted while a bridge with private records follows.
    #[test]
    fn group_for_all_users_receives_private_records() {
        let mut world = HubWorld::new();
        let selector = Selector::for_all_users(FilterSet::everything());
        let mut all = world.subscribe(&selector, Mode::Latest, 0);
        assert_eq!(poll(&mut all), Some(vec![]));
        assert_eq!(poll(&mut all), None);
        world.insert("a", Some("ann"));
        world.insert("b", None);
        world.dispatcher.dispatch_pending();
        assert_eq!(poll(&mut all), Some(vec![1, 2]));
    }

    /// A page and a bridge both subscribe without filters.
    #[test]
    fn all_users_and_anonymous_are_two_groups() {
        let mut world = HubWorld::new();
        let bridge = Selector::for_all_users(FilterSet::everything());
        let page = Selector::new(FilterSet::everything(), None);
        let mut bridge = world.subscribe(&bridge, Mode::Latest, 0);
        assert_eq!(poll(&mut bridge), Some(vec![]));
        let mut page = world.subscribe(&page, Mode::Latest, 0);
        assert_eq!(poll(&mut page), Some(vec![]));
        assert_eq!((poll(&mut bridge), poll(&mut page)), (None, None));
        world.insert("b", None);
        world.dispatcher.dispatch_pending();
        let got = (poll(&mut bridge), poll(&mut page));
        assert_eq!(got, (Some(vec![1]), Some(vec![1])));
    }

    #[test]
    fn kept_batch_is_dropped_when_all_subscribers_sleep() {
        let mut world = HubWorld::new();
        let selector = Selector::new(FilterSet::everything(), None);
        let mut first = world.subscribe(&selector, Mode::Latest, 0);
        let mut stalled = world.subscribe(&selector, Mode::Latest, 0);
        poll(&mut first);
        poll(&mut first);
        poll(&mut stalled);
        poll(&mut stalled);
        world.insert("b", None);
        world.dispatcher.dispatch_pending();
        assert_eq!(poll(&mut first), Some(vec![1]));
        assert_eq!(poll(&mut first), None);
        drop(stalled);
        assert_eq!(Arc::strong_count(&world.log.lock().unwrap()[0]), 3, "log, latest, window");
    }
}

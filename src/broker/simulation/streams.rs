//! Clients that subscribe: some keep up, some lag, some reconnect with a cursor, some change their
//! selector, some read every version.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use rand::Rng as _;
use rand::rngs::SmallRng;
use tokio::runtime::Runtime;

use crate::broker::api::subscribe::{ReplayMode, Resume, beginning};
use crate::broker::simulation::oracle::Oracle;
use crate::broker::simulation::process::SimulatedProcess;
use crate::record::{Cursor, FilterSet, Identity, Record, Seq, User};
use crate::subscription::latest::LatestRecords;
use crate::subscription::{ControlEvent, Selector, Step, Subscriber};

const FILTERS: [&[&str]; 6] = [&[], &["a"], &["a", "b"], &["a.*"], &["a.>"], &["b", "profile.*"]];
const USERS: [Option<&str>; 3] = [None, Some("ann"), Some("bob")];
/// Maximum streams at a time.
const STREAMS_MAX: usize = 6;

#[derive(Default)]
pub struct StreamClients(Vec<StreamClient>);

struct StreamClient {
    selector: Selector,
    mode: ReplayMode,
    subscriber: Option<Subscriber>,
    /// Cursor of the last step received.
    cursor: Option<Cursor>,
    position: Seq,
    latest: BTreeMap<Identity, Arc<Record>>,
    /// The client expects records after this seq.
    since: Seq,
    /// For `replay=all`: all seqs received since.
    received: Vec<Seq>,
}

impl StreamClients {
    /// Disconnects all clients, because the process has ended.
    pub fn end(&mut self) {
        self.0.iter_mut().for_each(|client| client.subscriber = None);
    }

    /// A client connects, reconnects, disconnects, or reads on.
    pub fn step(
        &mut self,
        random: &mut SmallRng,
        process: &SimulatedProcess,
        truth: &Oracle,
        runtime: &Runtime,
    ) -> String {
        if self.0.is_empty() || self.0.len() < STREAMS_MAX && random.random_bool(0.1) {
            self.0.push(StreamClient::new(random, process));
            return format!("stream {} connects", self.0.len() - 1);
        }
        let at = random.random_range(0..self.0.len());
        let client = &mut self.0[at];
        match random.random_range(0..10) {
            0 if client.subscriber.is_some() => {
                client.subscriber = None;
                format!("stream {at} disconnects")
            }
            1 => {
                *client = StreamClient::new(random, process);
                format!("stream {at} is replaced")
            }
            2 if client.subscriber.is_some() => {
                client.change_selector(random, process);
                format!("stream {at} changes its selector")
            }
            _ if client.subscriber.is_none() => {
                client.reconnect(process);
                format!("stream {at} reconnects at {}", client.position)
            }
            _ => {
                client.read(random.random_range(1..4), truth, runtime);
                format!("stream {at} reads to {}", client.position)
            }
        }
    }

    /// At rest every client holds the latest of everything it may see, and nothing else. Some stay
    /// disconnected, and reconnect when the log has grown.
    pub fn check_at_rest(
        &mut self,
        random: &mut SmallRng,
        process: &SimulatedProcess,
        truth: &Oracle,
        runtime: &Runtime,
    ) {
        process.dispatcher.dispatch_pending();
        for client in &mut self.0 {
            if client.subscriber.is_none() {
                if random.random_bool(0.6) {
                    continue;
                }
                client.reconnect(process);
            }
            client.read(usize::MAX, truth, runtime);
            client.check(truth);
        }
    }
}

impl StreamClient {
    fn new(random: &mut SmallRng, process: &SimulatedProcess) -> Self {
        let filters = any_filters(random);
        let user = USERS[random.random_range(0..USERS.len())];
        let user = user.map(|user| User::parse(user).expect("it is valid"));
        let mode = match random.random_range(0..6) {
            0 => ReplayMode::None,
            1 | 2 => ReplayMode::All,
            _ => ReplayMode::Latest,
        };
        let mut client = Self {
            selector: Selector::new(filters, user),
            mode,
            subscriber: None,
            cursor: None,
            position: 0,
            latest: BTreeMap::new(),
            since: 0,
            received: Vec::new(),
        };
        client.subscribe(process, Resume::Fresh);
        client
    }

    /// As if it reconnected with a cursor for another selector: it discards what it held on
    /// `Reset`, and everything after that belongs to the new filters.
    fn change_selector(&mut self, random: &mut SmallRng, process: &SimulatedProcess) {
        self.selector = Selector::new(any_filters(random), self.selector.user().cloned());
        self.cursor = None;
        self.subscribe(process, Resume::Lost);
    }

    fn reconnect(&mut self, process: &SimulatedProcess) {
        let resume = self.cursor.map_or(Resume::Fresh, Resume::After);
        if resume == Resume::Fresh {
            self.discard();
        }
        self.subscribe(process, resume);
    }

    fn subscribe(&mut self, process: &SimulatedProcess, resume: Resume) {
        let head = process.hub.with_latest(LatestRecords::head);
        let valid = match resume {
            Resume::After(cursor) => process.epochs.position(cursor, self.selector.view(), head),
            _ => None,
        };
        if let (Some(valid), Resume::After(cursor)) = (valid, resume) {
            assert_eq!(valid, cursor.seq);
        }
        let start = beginning(valid, resume, self.mode, &process.reader);
        let subscriber = process.hub.subscribe(self.selector.clone(), start);
        if self.mode == ReplayMode::None && resume == Resume::Fresh {
            (self.since, self.position) = (head, head);
        }
        self.subscriber = Some(subscriber);
    }

    fn discard(&mut self) {
        (self.position, self.since) = (0, 0);
        self.latest.clear();
        self.received.clear();
    }

    fn read(&mut self, steps: usize, truth: &Oracle, runtime: &Runtime) {
        for _ in 0..steps {
            let Some(subscriber) = &mut self.subscriber else { return };
            // A step through the log runs on another thread, so only a subscriber that follows and
            // sleeps is at rest.
            let step = poll_fn(|cx| match subscriber.poll_step(cx) {
                Poll::Ready(step) => Poll::Ready(step),
                Poll::Pending if subscriber.is_following() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            let Some(step) = runtime.block_on(step) else { return };
            self.take(step.expect("an intact log can be read"), truth);
        }
    }

    fn take(&mut self, step: Step, truth: &Oracle) {
        if step.control == Some(ControlEvent::Reset) {
            self.discard();
        }
        for record in step.records {
            assert!(record.seq() > self.position, "positions strictly increase");
            assert!(self.selector.matches(&record), "every record matches the selector");
            let index = usize::try_from(record.seq() - 1).expect("logs are short");
            let durable = truth.log.get(index).expect("only durable records are delivered");
            assert_eq!(durable, &record);
            self.position = record.seq();
            self.received.push(record.seq());
            let before = self.latest.insert(record.identity().clone(), record.clone());
            let version = before.map_or(0, |before| before.version());
            assert!(version < record.version(), "versions never go backwards");
        }
        let Some(subscriber) = &self.subscriber else { return };
        if let Some(ControlEvent::Synced { .. }) = step.control {
            self.position = self.position.max(subscriber.position());
        }
        // Before the first record or mark there is no cursor to return with.
        if self.position > 0 || step.control.is_some() {
            self.cursor = Some(subscriber.cursor(self.position));
        }
    }

    fn check(&self, truth: &Oracle) {
        let mut expected = truth.latest();
        let visible = |record: &Record| record.seq() > self.since && self.selector.matches(record);
        expected.retain(|_, record| visible(record));
        assert_eq!(
            self.latest, expected,
            "at rest a stream holds the latest values, and nothing else"
        );
        if self.mode == ReplayMode::All {
            let matching = truth.log.iter().filter(|record| visible(record));
            let matching: Vec<_> = matching.map(|record| record.seq()).collect();
            assert_eq!(self.received, matching, "every version, once");
        }
    }
}

fn any_filters(random: &mut SmallRng) -> FilterSet {
    let filters = FILTERS[random.random_range(0..FILTERS.len())];
    FilterSet::parse(filters, 10).expect("they are filters")
}

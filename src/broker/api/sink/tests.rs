//! Sinks on a disk that is slow, hangs or fails.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::task::noop_waker;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::broker::api::sink::*;
use crate::broker::lifecycle::start;
use crate::config::Config;
use crate::journal::before_sync;
use crate::order::Outcome;
use crate::record::Record;

/// Minimum weight in the queue of an event of these tests.
const EVENT_BYTES: usize = 512;
const QUEUE_BYTES: usize = 32 << 10;
/// The share of all sinks.
const SHARE_BYTES: usize = QUEUE_BYTES / 2;

/// A disk whose syncs wait while it is held, and may fail.
#[derive(Clone, Default)]
struct Brake(Arc<(Mutex<Brakes>, Condvar)>);

#[derive(Default)]
struct Brakes {
    held: bool,
    fails: bool,
    takes: Duration,
    waiting: usize,
}

impl Brake {
    fn set(&self, set: impl FnOnce(&mut Brakes)) {
        set(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn hold(&self) {
        self.set(|brakes| brakes.held = true);
    }

    fn release(&self) {
        self.set(|brakes| brakes.held = false);
    }

    /// Blocks until a sync is held.
    fn bites(&self) {
        let brakes = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(brakes, |brakes| brakes.waiting == 0).unwrap());
    }

    fn sync(&self) -> io::Result<()> {
        let mut brakes = self.0.0.lock().unwrap();
        brakes.waiting += 1;
        self.0.1.notify_all();
        let mut brakes = self.0.1.wait_while(brakes, |brakes| brakes.held).unwrap();
        brakes.waiting -= 1;
        let (fails, takes) = (brakes.fails, brakes.takes);
        drop(brakes);
        // The time of a sync, which no test waits for.
        std::thread::sleep(takes);
        if fails { Err(io::Error::other("injected")) } else { Ok(()) }
    }
}

/// A broker on a disk with a brake.
struct SinkWorld {
    runtime: Runtime,
    broker: Broker,
    brake: Brake,
    _directory: TempDir,
}

impl SinkWorld {
    fn open() -> Self {
        Self::with_lag(Config::default().max_projection_lag)
    }

    fn with_lag(lag_max: u64) -> Self {
        let (directory, brake) = (tempfile::tempdir().unwrap(), Brake::default());
        let config = Config::default()
            .max_projection_lag(lag_max)
            .data_dir(directory.path().join("data"))
            .max_body_bytes(1 << 10)
            .queue_bytes(QUEUE_BYTES)
            .segment_bytes(1 << 20)
            .cache_bytes(1 << 20);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let syncs = brake.clone();
        before_sync(move || syncs.sync());
        let inner = start::open(config).unwrap();
        Self { runtime, broker: Broker { inner: Arc::new(inner) }, brake, _directory: directory }
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// All inserted records, in order.
    fn log(&self) -> Vec<Record> {
        let records = self.broker.inner.reader.follow(0).next(usize::MAX).unwrap();
        records.into_iter().filter(|record| !record.event().is_system()).collect()
    }

    fn values(&self) -> Vec<u64> {
        self.log().iter().map(value).collect()
    }

    /// Sends `from..` while the sink is ready, without waiting; returns the next number.
    fn fill(&self, sink: &mut EventSink, from: u64) -> u64 {
        let (waker, _guard) = (noop_waker(), self.runtime.enter());
        let mut cx = Context::from_waker(&waker);
        let mut next = from;
        while let Poll::Ready(ready) = sink.poll_ready_unpin(&mut cx) {
            ready.unwrap();
            sink.start_send_unpin(event(next)).unwrap();
            next += 1;
        }
        next
    }

    /// Holds the disk and fills the queue through a sink, which it returns.
    fn full(&self) -> (EventSink, u64) {
        self.brake.hold();
        let mut sink = self.broker.sink();
        let first = self.fill(&mut sink, 0);
        self.brake.bites();
        (sink, first)
    }

    fn close(self) {
        self.brake.release();
        self.run(self.broker.shutdown());
    }
}

fn poll_once<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(&noop_waker()))
}

fn event(n: u64) -> NewEvent {
    NewEvent::new("n", &n).unwrap()
}

fn value(record: &Record) -> u64 {
    std::str::from_utf8(record.data()).unwrap().parse().unwrap()
}

#[test]
fn a_producer_waits_while_the_queue_is_full() {
    let world = SinkWorld::open();
    let (mut sink, next) = world.full();
    assert!(next as usize <= SHARE_BYTES / EVENT_BYTES, "{next} were taken");
    assert!(world.broker.queue_bytes() <= SHARE_BYTES);
    let mut other = world.broker.sink();
    assert_eq!(world.fill(&mut other, 0), 0, "a sink that holds nothing waits too");

    world.run(async {
        let feed = async {
            for n in next..500 {
                sink.feed(event(n)).await.unwrap();
            }
            sink.close().await.unwrap();
        };
        // Polled once first, so that it already waits when the disk continues.
        let mut feed = std::pin::pin!(feed);
        assert!(poll_fn(|cx| Poll::Ready(feed.as_mut().poll(cx))).await.is_pending());
        world.brake.release();
        feed.await;
    });
    assert_eq!((sink.sent(), sink.durable()), (500, 500));
    assert_eq!(world.values(), (0..500).collect::<Vec<_>>());
    world.run(other.send(event(7))).unwrap();
    world.close();
}

/// Inserts that do not wait are refused only if others than sinks fill the queue.
#[test]
fn waiting_sinks_do_not_cause_refusals() {
    let world = SinkWorld::open();
    let (mut sink, next) = world.full();
    let mut others = Vec::new();
    let refused = loop {
        let mut insert = Box::pin(world.broker.insert(event(next)));
        match poll_once(insert.as_mut()) {
            Poll::Pending => others.push(insert),
            Poll::Ready(refused) => break refused,
        }
    };
    assert!(matches!(refused, Err(ProposeError::QueueFull)), "{refused:?}");
    assert!(others.len() >= SHARE_BYTES / (2 * EVENT_BYTES), "{} found room", others.len());
    world.brake.release();
    let inserted = world.run(join_all(others));
    assert!(inserted.iter().all(Result::is_ok));
    world.run(sink.close()).unwrap();
    world.close();
}

/// 20,000 events on a disk that takes few at once: memory never exceeds the queue.
#[test]
fn memory_is_bounded_by_the_queue_on_a_slow_disk() {
    const EVENTS: u64 = 20_000;
    let world = SinkWorld::open();
    world.brake.set(|brakes| brakes.takes = Duration::from_micros(500));
    let mut sink = world.broker.sink();
    let (mut queued_max, mut in_flight_max, mut waited) = (0, 0, 0_u64);
    world.run(async {
        for n in 0..EVENTS {
            let ready = poll_fn(|cx| {
                let ready = sink.poll_ready_unpin(cx);
                waited += u64::from(ready.is_pending());
                ready
            });
            ready.await.unwrap();
            sink.start_send_unpin(event(n)).unwrap();
            queued_max = queued_max.max(world.broker.queue_bytes());
            in_flight_max = in_flight_max.max(sink.in_flight.capacity());
        }
        sink.flush().await.unwrap();
    });
    assert!(queued_max <= SHARE_BYTES, "{queued_max} bytes were queued");
    assert!(queued_max > SHARE_BYTES / 2, "the disk was slower: {queued_max}");
    assert!(in_flight_max <= 4 * SHARE_BYTES / EVENT_BYTES, "room for {in_flight_max} outcomes");
    assert!(waited > EVENTS / (SHARE_BYTES / EVENT_BYTES) as u64, "it waited {waited} times");
    assert_eq!(world.values(), (0..EVENTS).collect::<Vec<_>>());
    world.close();
}

#[test]
fn waiting_producers_are_all_served_and_keep_their_order() {
    let world = SinkWorld::open();
    let (first, _) = world.full();
    let sinks = (0..8).map(|producer| {
        let mut sink = world.broker.sink();
        world.runtime.spawn(async move {
            for n in 0..200 {
                let name = format!("n.{producer}");
                sink.feed(NewEvent::new(&name, &n).unwrap()).await.unwrap();
            }
            sink.close().await.unwrap();
        })
    });
    let sinks: Vec<_> = sinks.collect();
    world.brake.release();
    world.run(join_all(sinks)).into_iter().for_each(|served| served.unwrap());
    for producer in 0..8 {
        let name = format!("n.{producer}");
        let log = world.log();
        let own = log.iter().filter(|record| record.event().as_str() == name);
        assert_eq!(own.map(value).collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
    }
    drop(first);
    world.close();
}

#[test]
fn an_error_names_the_refused_events_and_all_others_are_durable() {
    let world = SinkWorld::open();
    let mut sink = world.broker.sink();
    let id = Uuid::from_u128(7);
    let refused = world.run(async {
        for n in 0..10 {
            let event = match n {
                3 => event(n).with_expected_version(99),
                5 => event(n).with_expected_version(98).with_id(id),
                _ => event(n),
            };
            // Feeding may report it already; then the event was not sent.
            if let Err(error) = sink.feed(event.clone()).await {
                return (error, n);
            }
        }
        (sink.flush().await.unwrap_err(), 10)
    });
    let (error, sent) = refused;
    assert_eq!(error.sent(), sent);
    let failed: Vec<_> = error.failures().iter().map(|one| (one.index, one.id)).collect();
    let expected = [(3, None), (5, Some(id))];
    assert_eq!(failed, expected[..failed.len()], "{error}");
    assert!(!failed.is_empty());
    assert_eq!(error.outcome(), Outcome::NotStored);
    assert!(error.to_string().contains("event 3 of the sink: the latest version is 3, not 99"));
    let all_others: Vec<_> = (0..sent).filter(|n| ![3, 5].contains(n)).collect();
    assert_eq!(world.values(), all_others, "when it tells, all others are there");
    assert_eq!(sink.durable(), all_others.len() as u64);

    // The sink remains usable.
    world.run(sink.send(event(50))).unwrap();
    assert_eq!(world.values().last(), Some(&50));
    world.close();
}

#[test]
fn events_with_ids_keep_the_order() {
    let world = SinkWorld::open();
    let mut sink = world.broker.sink();
    let send = |n: u64| event(n).with_id(Uuid::from_u128(u128::from(n) / 2 * 2));
    world.run(async {
        for n in 0..40 {
            // Every second event has no id.
            let event = if n % 2 == 0 { send(n) } else { event(n) };
            sink.feed(event).await.unwrap();
        }
        sink.flush().await.unwrap();
        // Seen before: nothing is appended, without an error.
        sink.send(send(8)).await.unwrap();
    });
    assert_eq!(world.values(), (0..40).collect::<Vec<_>>());
    assert_eq!(sink.durable(), 41);
    let taken = world.run(sink.send(send(9))).unwrap_err();
    assert_eq!(taken.failures()[0].id, Some(Uuid::from_u128(8)), "{taken}");
    world.close();
}

#[test]
fn after_a_failed_sync_every_event_has_an_outcome() {
    let world = SinkWorld::open();
    let mut sink = world.broker.sink();
    world.run(sink.send(event(0))).unwrap();
    world.brake.hold();
    let sent = world.fill(&mut sink, 1);
    world.brake.bites();
    world.brake.set(|brakes| (brakes.fails, brakes.held) = (true, false));
    let error = world.run(sink.flush()).unwrap_err();
    let failed: Vec<_> = error.failures().iter().map(|one| one.index).collect();
    assert_eq!(failed, (1..sent).collect::<Vec<_>>(), "each of them, in order");
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(sink.durable(), 1);
    let later = world.run(sink.send(event(sent))).unwrap_err();
    assert_eq!((later.failures()[0].index, later.outcome()), (sent, Outcome::NotStored));
    world.close();
}

#[test]
fn a_dropped_sink_loses_no_accepted_event() {
    let world = SinkWorld::open();
    let (sink, next) = world.full();
    // As if the sinks had been ready before the queue was full.
    let mut holding = world.broker.sink();
    holding.start_send_unpin(event(next)).unwrap();
    assert!(holding.sent_last.is_some(), "it waits for room");
    let mut looking_up = world.broker.sink();
    let _guard = world.runtime.enter();
    looking_up.start_send_unpin(event(next + 1).with_id(Uuid::from_u128(1))).unwrap();
    assert!(looking_up.sent_last.is_some(), "its id is looked up");
    drop((sink, holding, looking_up));
    world.brake.release();
    world.run(world.broker.shutdown());
    assert_eq!(world.values(), (0..next + 2).collect::<Vec<_>>());
    assert_eq!(world.log().last().unwrap().id(), Uuid::from_u128(1));
}

#[test]
fn a_shutdown_wakes_waiting_producers_with_their_failures() {
    let world = SinkWorld::open();
    let (mut sink, next) = world.full();
    let (stopped, error) = world.run(async {
        let broker = world.broker.clone();
        let producer = tokio::spawn(async move {
            let events = stream::iter(next..).map(|n| Ok(event(n)));
            // Never ends by itself.
            events.map(|event: Result<_, SinkError>| event).forward(&mut sink).await.unwrap_err()
        });
        let shutdown = tokio::spawn(async move { broker.shutdown().await });
        while !world.broker.is_stopping() {
            tokio::task::yield_now().await;
        }
        world.brake.release();
        (shutdown.await, producer.await.unwrap())
    });
    stopped.unwrap();
    let failure = &error.failures()[0];
    assert!(matches!(failure.error, ProposeError::Stopping), "{error}");
    assert_eq!(error.outcome(), Outcome::NotStored);
    let refused: HashSet<_> = error.failures().iter().map(|one| one.index).collect();
    let taken: Vec<_> = (0..error.sent()).filter(|n| !refused.contains(n)).collect();
    assert_eq!(world.values(), taken);
}

#[test]
fn a_shutdown_ends_the_wait_for_the_projection() {
    let world = SinkWorld::with_lag(8);
    let (mut sink, next) = world.full();
    assert!(world.broker.inner.order.admission().has_room(), "it waits for the history only");
    world.broker.begin_shutdown();
    let error = world.run(async {
        sink.feed(event(next)).await.unwrap();
        world.brake.release();
        sink.flush().await.unwrap_err()
    });
    assert!(matches!(error.failures()[0].error, ProposeError::Stopping), "{error}");
    world.close();
}

/// The watchdog gives up on an append that does not return.
#[test]
fn producers_in_line_behind_a_hung_append_are_refused() {
    let world = SinkWorld::open();
    let (_sink, next) = world.full();
    let mut waiting = world.broker.sink();
    assert_eq!(world.fill(&mut waiting, next), next);
    let mut holding = world.broker.sink();
    holding.start_send_unpin(event(next)).unwrap();
    assert!(holding.sent_last.is_some(), "it waits for room");
    world.broker.inner.fail_stop.refuse();
    let outcomes = [world.run(waiting.send(event(next))), world.run(holding.flush())];
    for error in outcomes.map(Result::unwrap_err) {
        assert!(matches!(error.failures()[0].error, ProposeError::StorageFailed), "{error}");
    }
    world.close();
}

#[test]
fn large_queued_values_hold_up_a_producer_only_until_they_are_stored() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::default().data_dir(directory.path().join("data")).max_projection_lag(100);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = Broker::open(config).await.unwrap();
        // By its bytes each counts as more records than the maximum lag.
        let large = "x".repeat(100 << 10);
        let began = Instant::now();
        let events = stream::iter(0..60).map(|_| Ok(NewEvent::new("n", &large).unwrap()));
        let mut sink = broker.sink();
        events.forward(&mut sink).await.unwrap();
        assert_eq!(sink.durable(), 60);
        // Not a measure of speed: waiting needlessly takes READ_WAIT each time.
        assert!(began.elapsed() < 60 * READ_WAIT / 2, "they waited in vain");
        broker.shutdown().await;
    });
}

#[test]
fn a_producer_waits_for_the_projection_before_inserts_are_refused() {
    // The queue takes fewer events than the maximum lag, or all that are sent.
    for queue_bytes in [256 << 10, 64 << 20] {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::default()
            .data_dir(directory.path().join("data"))
            .max_projection_lag(5_000)
            .max_body_bytes(1 << 10)
            .queue_bytes(queue_bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let broker = Broker::open(config).await.unwrap();
            let events = stream::iter(0..30_000).map(|n| Ok(event(n)));
            let mut sink = broker.sink();
            events.forward(&mut sink).await.unwrap();
            assert_eq!(sink.durable(), 30_000);
            broker.shutdown().await;
        });
    }
}

//! Streams and sinks of the library, used with the combinators of the futures crate.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use broker::{
    Broker, EventSink, FilterSet, NewEvent, Outcome, ProposeError, Record, Records, Rejection,
    ReplayMode, SinkError, Subscribe,
};
use futures::{SinkExt as _, StreamExt as _, TryStreamExt as _, stream};

use crate::library::open_broker;

type BoxError = Box<dyn Error + Send + Sync>;

fn event(name: &str, value: u64) -> NewEvent {
    NewEvent::new(name, &value).expect("an event")
}

fn every(filter: &str) -> Subscribe {
    let filters = Some(FilterSet::parse([filter], 1).expect("a filter"));
    Subscribe { filters, replay: ReplayMode::All, ..Subscribe::default() }
}

fn value(record: &Record) -> u64 {
    serde_json::from_slice(record.data()).expect("a number")
}

#[test]
fn streams_and_sinks_can_be_sent_between_tasks() {
    fn assert_send<T: Send + Unpin + 'static>() {}
    fn assert_shared<T: Send + Sync + 'static>() {}
    assert_send::<Records>();
    assert_send::<EventSink>();
    assert_shared::<SinkError>();
    assert_shared::<Broker>();
}

#[actix_rt::test]
async fn stream_can_be_mapped_and_forwarded_into_a_sink() {
    let (broker, _dir) = open_broker().await;
    let source = stream::iter(0..1_000);
    source.map(|n| Ok(event("celsius", n))).forward(broker.sink()).await.expect("all durable");

    // From a subscription into the same log: every record of one event becomes one of another.
    let warmer = broker
        .subscribe(every("celsius"))
        .take(1_000)
        .map_ok(|record| event("fahrenheit", value(&record) * 9 / 5 + 32))
        .err_into::<BoxError>()
        .forward(broker.sink().sink_err_into());
    warmer.await.expect("all durable");

    let fahrenheit = broker.subscribe(every("fahrenheit")).take(1_000);
    let values: Vec<_> = fahrenheit.map_ok(|one| value(&one)).try_collect().await.expect("read");
    assert_eq!(values, (0..1_000).map(|n| n * 9 / 5 + 32).collect::<Vec<_>>());
    broker.shutdown().await;
}

#[actix_rt::test]
async fn concurrent_inserts_return_their_records_in_order() {
    let (broker, _dir) = open_broker().await;
    let running = Arc::new(AtomicUsize::new(0));
    let inserts = stream::iter(0..500).map(|n| {
        let (broker, running) = (broker.clone(), running.clone());
        async move {
            assert!(running.fetch_add(1, Ordering::Relaxed) < 32);
            let inserted = broker.insert(event("n", n)).await;
            running.fetch_sub(1, Ordering::Relaxed);
            inserted
        }
    });
    let inserted: Vec<_> = inserts.buffered(32).try_collect().await.expect("all durable");
    let versions: Vec<_> = inserted.iter().map(|one| one.records[0].version()).collect();
    assert_eq!(versions, (1..=500).collect::<Vec<_>>());
    broker.shutdown().await;
}

#[actix_rt::test]
async fn sink_takes_merged_streams_and_converts_types_with_with() {
    let (broker, _dir) = open_broker().await;
    let streams = (0..5_u64).map(|source| stream::iter((0..100).map(move |n| (source, n))));
    let to_event =
        |(source, n)| async move { Ok::<_, SinkError>(event(&format!("s.{source}"), n)) };
    let sink = broker.sink().with(to_event);
    stream::select_all(streams).map(Ok).forward(sink).await.expect("all durable");
    for source in 0..5 {
        let seen = broker.subscribe(every(&format!("s.{source}"))).take(100);
        let seen: Vec<_> = seen.map_ok(|one| value(&one)).try_collect().await.expect("read");
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }
    broker.shutdown().await;
}

#[actix_rt::test]
async fn refused_event_of_a_forward_is_named_and_the_rest_is_stored() {
    let (broker, _dir) = open_broker().await;
    let events = stream::iter(0..10_u64).map(|n| match n {
        4 => Ok(event("n", n).with_expected_version(0)),
        _ => Ok(event("n", n)),
    });
    let error = events.forward(broker.sink()).await.expect_err("the fifth is refused");
    let [failure] = error.failures() else { panic!("one failed: {error}") };
    assert_eq!((failure.index, error.outcome()), (4, Outcome::NotStored));
    let mismatch = Rejection::VersionMismatch { index: 0, expected: 0, current: 4 };
    assert!(matches!(&failure.error, ProposeError::Rejected(why) if *why == mismatch), "{error}");
    let stored = error.sent() - 1;
    let seen = broker.subscribe(every("n")).take(usize::try_from(stored).expect("few"));
    let seen: Vec<_> = seen.map_ok(|one| value(&one)).try_collect().await.expect("read");
    assert_eq!(seen, (0..error.sent()).filter(|n| *n != 4).collect::<Vec<_>>());
    broker.shutdown().await;
}

/// A sink of events without ids needs no runtime, because the appending thread wakes its tasks.
#[actix_rt::test]
async fn sink_works_on_another_executor() {
    let (broker, _dir) = open_broker().await;
    let mut sink = broker.sink();
    let fed = actix_rt::task::spawn_blocking(move || {
        futures::executor::block_on(async {
            let events = stream::iter(0..5_000).map(|n| Ok(event("n", n)));
            events.forward(&mut sink).await.map(|()| sink.durable())
        })
    });
    assert_eq!(fed.await.expect("no panic").expect("all durable"), 5_000);
    broker.shutdown().await;
}

//! Concurrent acknowledgements, polled by hand.

use futures_util::future::join_all;
use futures_util::poll;

use crate::broker::api::consumers::*;
use crate::config::Config;
use crate::record::NewEvent;

async fn broker(dir: &tempfile::TempDir) -> Broker {
    Broker::open(Config::default().data_dir(dir.path())).await.unwrap()
}

fn consumer() -> Consumer {
    Consumer::parse(Name::parse("t").unwrap(), "c").unwrap()
}

async fn fill(broker: &Broker, versions: u64) {
    for n in 0..versions {
        broker.insert(NewEvent::new("t", &n).unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn waiting_acknowledgements_are_stored_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(&dir).await;
    fill(&broker, 20).await;
    let request = broker.inner.consumers.enter(consumer(), false).unwrap();
    let requested = request.acknowledge(1);
    let storing = requested.storing.lock().await;
    let (first, second) = (&request, broker.inner.consumers.enter(consumer(), false).unwrap());
    let acks = (1..=20).map(|ack| {
        let request = if ack % 2 == 0 { first } else { &second };
        Box::pin(broker.acknowledge(request, Some(ack)))
    });
    let mut acks: Vec<_> = acks.collect();
    for ack in &mut acks {
        assert!(poll!(ack).is_pending(), "another request stores");
    }
    drop(storing);
    let answers = join_all(acks).await;
    assert!(answers.iter().all(|done| matches!(done, Ok(20))), "{answers:?}");
    let position = broker.position(&consumer().position_name()).unwrap();
    assert_eq!((position.version(), consumer().read(position.data())), (1, Ok(20)));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_request_cancelled_before_it_stores_acknowledges_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(&dir).await;
    fill(&broker, 5).await;
    let request = broker.inner.consumers.enter(consumer(), false).unwrap();
    let requested = request.acknowledge(1);
    let storing = requested.storing.lock().await;
    {
        let mut cancelled = Box::pin(broker.acknowledge(&request, Some(5)));
        assert!(poll!(&mut cancelled).is_pending());
    }
    drop(storing);
    assert_eq!(broker.acknowledge(&request, Some(2)).await.unwrap(), 2);
    // A lower version changes nothing.
    assert_eq!(broker.acknowledge(&request, Some(1)).await.unwrap(), 2);
    let position = broker.position(&consumer().position_name()).unwrap();
    assert_eq!(position.version(), 1);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_consumer_without_requests_takes_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(&dir).await;
    let consumers = &broker.inner.consumers;
    let waiting = consumers.enter(consumer(), true).unwrap();
    for waits in [true, false] {
        assert!(consumers.enter(consumer(), waits).is_none());
    }
    drop(waiting);
    let first = consumers.enter(consumer(), false).unwrap();
    let waiting = consumers.enter(consumer(), true).unwrap();
    drop(first);
    assert!(consumers.enter(consumer(), false).is_none());
    drop(waiting);
    assert!(consumers.lock().is_empty());
    broker.shutdown().await;
}

/// Another version of Broker may have written it; other consumers go on.
#[tokio::test]
async fn an_unreadable_position_is_an_error_of_that_consumer_only() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(&dir).await;
    fill(&broker, 2).await;
    let name = consumer().position_name();
    let strange = crate::record::Data::checked("{\"through\":1}".into());
    broker.store_position(&name, strange, None).await.unwrap();
    for ack in [None, Some(1)] {
        let from = ConsumeFrom::Acknowledged { consumer: consumer(), ack };
        let refused = broker.consume(consumer().topic().clone(), from, false).await.err();
        assert!(matches!(refused, Some(ConsumeError::Position)), "{refused:?}");
    }
    let other = Consumer::parse(consumer().topic().clone(), "d").unwrap();
    let from = ConsumeFrom::Acknowledged { consumer: other, ack: Some(1) };
    let consumption = broker.consume(consumer().topic().clone(), from, false).await.ok().unwrap();
    assert_eq!(consumption.next().await.unwrap().unwrap().version(), 2);
    broker.shutdown().await;
}

//! The broker as the bridge to RabbitMQ sees it.

use std::sync::{Arc, Weak};

use uuid::Uuid;

use crate::bridge::{Bridge, Host};
use crate::broker::api::id_lookup::IdFinder;
use crate::broker::api::subscribe::log_tails;
use crate::broker::lifecycle::error::StartError;
use crate::broker::{Broker, BrokerInner};
use crate::decide::Verdict;
use crate::order::ProposeError;
use crate::record::{Data, Name, NewEvent, Record, Seq};
use crate::subscription::{Replay, Selector, Subscriber, SubscriptionStart};

/// A broker that the bridge does not keep alive.
#[derive(Clone)]
pub struct BridgeHost {
    inner: Weak<BrokerInner>,
    log_id: Uuid,
}

impl BridgeHost {
    /// For the bridge of `broker`.
    pub fn new(broker: &Broker, log_id: Uuid) -> Self {
        Self { inner: Arc::downgrade(&broker.inner), log_id }
    }

    fn broker(&self) -> Result<Broker, ProposeError> {
        let inner = self.inner.upgrade().ok_or(ProposeError::Stopping)?;
        Ok(Broker { inner })
    }
}

impl Host for BridgeHost {
    fn log_id(&self) -> Uuid {
        self.log_id
    }

    fn head(&self) -> Seq {
        self.broker().map_or(0, |broker| broker.head())
    }

    fn follow(&self, selector: Selector, after: Seq) -> Option<Subscriber> {
        let broker = self.broker().ok()?;
        let replay = Replay::All(log_tails(broker.reader()));
        Some(
            broker
                .hub()
                .subscribe(selector, SubscriptionStart { position: after, reset: false, replay }),
        )
    }

    fn position(&self, name: &Name) -> Option<Arc<Record>> {
        self.broker().ok()?.position(name)
    }

    async fn store_position(&self, name: &Name, data: Data) -> Result<(), ProposeError> {
        self.broker()?.store_position(name, data, None).await.map(drop)
    }

    async fn insert(&self, events: Vec<NewEvent>) -> Result<Verdict, ProposeError> {
        let broker = self.broker()?;
        let submission = broker.look_up(events).await?;
        broker.inner.order.propose(submission)?.await
    }

    async fn find(&self, id: Uuid) -> Result<Option<Arc<Record>>, ProposeError> {
        let broker = self.broker()?;
        // A recent id is found only once the projection has applied it.
        broker.caught_up().await.map_err(|_| ProposeError::IdsNotReady)?;
        broker.find(id).await
    }
}

impl Broker {
    /// Starts the bridge, if one is configured.
    pub(crate) async fn start_bridge(&self) -> Result<(), StartError> {
        let log_id = self.inner.directory.lock().await.as_ref().map(|directory| directory.log_id());
        let Some(log_id) = log_id else { return Ok(()) };
        let bridge = Bridge::start(BridgeHost::new(self, log_id), self.config(), self.metrics());
        if let Some(bridge) = bridge.map_err(StartError::Thread)? {
            let is_first = self.inner.bridge.set(bridge).is_ok();
            debug_assert!(is_first, "a broker starts one bridge");
        }
        Ok(())
    }

    /// The record that an id belongs to, as far as the projection has applied the log.
    async fn find(&self, id: Uuid) -> Result<Option<Arc<Record>>, ProposeError> {
        let BrokerInner { projection, reader, .. } = &*self.inner;
        let mut ids = IdFinder::new(projection.clone(), reader.clone());
        let found = tokio::task::spawn_blocking(move || ids.find(&id)).await;
        found.unwrap_or_else(|error| {
            tracing::error!(%error, "a look-up of an id panicked");
            Err(ProposeError::IdsNotReady)
        })
    }
}

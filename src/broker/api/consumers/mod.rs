//! Consumers: the oldest record of a topic that a reader has not had, and how far it has come.
//!
//! Owns which consumers are being served, and the order of an acknowledgement: checked against the
//! topic, stored, then counted on.
//! Promises that a position only rises, that what was not acknowledged is handed out again, and
//! that nobody is served while another request of the same consumer waits.
//! Does not know HTTP, and sees public records only.

mod requests;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use tracing::error;

pub use requests::Consumers;

use crate::broker::Broker;
use crate::broker::api::consumers::requests::Request;
use crate::broker::api::subscribe::{ReplayMode, Subscribe};
use crate::decide::Rejection;
use crate::order::ProposeError;
use crate::projection::{PageQuery, Unavailable};
use crate::record::{Consumer, FilterSet, Identity, Name, Record, Version};
use crate::subscription::Subscriber;

/// Where a reader of a topic begins.
#[derive(Clone, Debug)]
pub(crate) enum ConsumeFrom {
    /// Behind a version; nothing is kept.
    After(Version),
    /// Behind what the consumer has acknowledged, now with everything through `ack`.
    Acknowledged { consumer: Consumer, ack: Option<Version> },
}

/// Why nothing is handed out.
#[derive(Debug, Error)]
pub(crate) enum ConsumeError {
    /// An acknowledgement of what is not there.
    #[error("version {ack} cannot be acknowledged: the newest version is {latest}")]
    AckTooNew { ack: Version, latest: Version },
    /// Another request of the same consumer waits.
    #[error("another request of this consumer waits for this topic")]
    Busy,
    /// A position that this version of Broker does not understand.
    #[error("the consumer's position cannot be understood")]
    Position,
    /// The acknowledgement was not stored, or nobody knows.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The topic's history cannot be read now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A reader at its place in a topic.
pub(crate) struct Consumption {
    broker: Broker,
    topic: Name,
    after: Version,
    /// Of a consumer: until the answer is made.
    _request: Option<Request>,
}

impl Broker {
    /// Takes a place in a topic, and acknowledges first. One that `waits` keeps others of the same
    /// consumer out.
    ///
    /// # Errors
    /// [`ConsumeError`]; after [`ConsumeError::Busy`] and [`ConsumeError::AckTooNew`] nothing was
    /// done.
    pub(crate) async fn consume(
        &self,
        topic: Name,
        from: ConsumeFrom,
        waits: bool,
    ) -> Result<Consumption, ConsumeError> {
        if self.is_stopping() {
            return Err(ProposeError::Stopping.into());
        }
        let (after, request) = match from {
            ConsumeFrom::After(after) => (after, None),
            ConsumeFrom::Acknowledged { consumer, ack } => {
                let request = self.inner.consumers.enter(consumer, waits)?;
                (self.acknowledge(&request, ack).await?, Some(request))
            }
        };
        Ok(Consumption { broker: self.clone(), topic, after, _request: request })
    }

    /// Makes an acknowledgement durable, if it is one; the version through which everything is
    /// acknowledged then.
    async fn acknowledge(
        &self,
        request: &Request,
        ack: Option<Version>,
    ) -> Result<Version, ConsumeError> {
        let consumer = &request.consumer;
        let name = consumer.position_name();
        let (mut done, mut stored) = self.acknowledged(consumer, &name)?;
        let limit = self.config().max_consumers.get();
        if stored == 0 && self.inner.hub.with_latest(|latest| latest.consumers()) >= limit {
            return Err(ProposeError::from(Rejection::TooManyConsumers { limit }).into());
        }
        let Some(ack) = ack else { return Ok(done) };
        let latest = self.latest_of(consumer.topic()).map_or(0, |latest| latest.version());
        if ack > latest {
            return Err(ConsumeError::AckTooNew { ack, latest });
        }
        let asked = request.ask(ack);
        let _turn = asked.turn.lock().await;
        loop {
            (done, stored) = self.acknowledged(consumer, &name)?;
            if done >= ack {
                return Ok(done);
            }
            let through = asked.highest();
            let data = consumer.acknowledged(through);
            match self.store_position(&name, data, Some(stored)).await {
                Ok(_) => return Ok(through),
                // Of a request that was given up while it was stored.
                Err(ProposeError::Rejected(Rejection::VersionMismatch { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Through which version a consumer has acknowledged, and the version of the record that says
    /// so.
    fn acknowledged(
        &self,
        consumer: &Consumer,
        name: &Name,
    ) -> Result<(Version, Version), ConsumeError> {
        let Some(position) = self.position(name) else { return Ok((0, 0)) };
        let acknowledged = consumer.read(position.data()).map_err(|reason| {
            error!(%reason, seq = position.seq(), "a consumer's position cannot be understood");
            ConsumeError::Position
        })?;
        Ok((acknowledged, position.version()))
    }

    /// The newest public record of a topic.
    fn latest_of(&self, topic: &Name) -> Option<Arc<Record>> {
        let identity = Identity { event: topic.clone(), to: None };
        self.inner.hub.with_latest(|latest| latest.find(&identity).cloned())
    }
}

impl Consumption {
    /// The oldest record after the place, if there is one now.
    ///
    /// # Errors
    /// [`ConsumeError::Unavailable`].
    pub async fn next(&self) -> Result<Option<Arc<Record>>, ConsumeError> {
        let latest = self.broker.latest_of(&self.topic);
        let Some(latest) = latest.filter(|latest| latest.version() > self.after) else {
            return Ok(None);
        };
        // Who keeps up needs no history.
        if latest.version() == self.after + 1 {
            return Ok(Some(latest));
        }
        match self.look_up().await {
            Ok(Some(record)) => return Ok(Some(Arc::new(record))),
            // It may be behind: it has to have come so far.
            Ok(None)
            | Err(Unavailable::Behind { .. } | Unavailable::Opening | Unavailable::Rebuilding) => {}
            Err(error) => return Err(error.into()),
        }
        self.broker.caught_up().await?;
        match self.look_up().await? {
            Some(record) => Ok(Some(Arc::new(record))),
            None => Err(Unavailable::Doubt.into()),
        }
    }

    /// As [`Consumption::next`], waiting for one at most so long.
    ///
    /// # Errors
    /// [`ConsumeError::Unavailable`], and [`ProposeError::Stopping`] at the shutdown.
    pub async fn wait(&self, wait: Duration) -> Result<Option<Arc<Record>>, ConsumeError> {
        let until = Instant::now() + wait;
        let mut subscriber = self.subscriber();
        loop {
            // After the subscription began: what is new from now on wakes it.
            if let Some(record) = self.next().await? {
                return Ok(Some(record));
            }
            match timeout_at(until, poll_fn(|cx| subscriber.poll_step(cx))).await {
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_)) | None) => return Err(ProposeError::Stopping.into()),
                Err(_) => return Ok(None),
            }
        }
    }

    fn subscriber(&self) -> Subscriber {
        let filters = FilterSet::parse([&self.topic], 1).expect("a name is a filter for itself");
        let replay = ReplayMode::None;
        self.broker.subscriber(Subscribe { filters: Some(filters), replay, ..Subscribe::default() })
    }

    async fn look_up(&self) -> Result<Option<Record>, Unavailable> {
        let projection = self.broker.projection().clone();
        let identity = Identity { event: self.topic.clone(), to: None };
        let versions = self.after + 1..=Version::MAX;
        let query = PageQuery { versions, limit: 1, descending: false };
        let job = tokio::task::spawn_blocking(move || projection.page(&identity, &query));
        let records = job.await.unwrap_or(Err(Unavailable::Doubt))?;
        Ok(records.into_iter().next())
    }
}

#[cfg(test)]
mod tests;

//! Consumers: the oldest unacknowledged record of a topic, for each named reader.
//!
//! **Owns** the requests in progress, and the order of an acknowledgement: it is checked against the
//! topic, stored, and only then relied on.
//!
//! **Promises** that a position only rises, that an unacknowledged record is delivered again, and
//! that a consumer is refused while another of its requests waits for a record.
//!
//! **Does not** know HTTP; it sees public records only.

pub mod requests;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use tracing::error;

use crate::broker::Broker;
use crate::broker::api::consumers::requests::Request;
use crate::broker::api::subscribe::{ReplayMode, Subscribe};
use crate::decide::Rejection;
use crate::order::ProposeError;
use crate::projection::{PageQuery, Unavailable};
use crate::record::{Consumer, FilterSet, Identity, Name, Record, Version};
use crate::subscription::Subscriber;

/// Where a reader of a topic starts.
#[derive(Clone, Debug)]
pub(crate) enum ConsumeFrom {
    /// After a version; no position is kept.
    After(Version),
    /// After the position of a consumer, which `ack` moves first.
    Acknowledged { consumer: Consumer, ack: Option<Version> },
}

/// Why no record is returned.
#[derive(Debug, Error)]
pub(crate) enum ConsumeError {
    /// An acknowledgement of a version that does not exist.
    #[error("version {ack} cannot be acknowledged: the latest version is {latest}")]
    AckTooNew { ack: Version, latest: Version },
    /// Another request of the same consumer waits.
    #[error("another request of this consumer waits for this topic")]
    Busy,
    /// A position that this version of Broker cannot read.
    #[error("the consumer's position cannot be read")]
    Position,
    /// The acknowledgement was not stored, or its outcome is unknown.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The topic's history cannot be read now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A reader at a position in a topic.
pub(crate) struct Consumption {
    broker: Broker,
    topic: Name,
    after: Version,
    /// Of a named consumer, until it is answered.
    _request: Option<Request>,
}

impl Broker {
    /// Starts to read a topic, and acknowledges first. While a request `waits`, others of the same
    /// consumer are refused.
    ///
    /// # Errors
    /// [`ConsumeError`]; after [`ConsumeError::Busy`] and [`ConsumeError::AckTooNew`] nothing has
    /// changed.
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
                let request =
                    self.inner.consumers.enter(consumer, waits).ok_or(ConsumeError::Busy)?;
                (self.acknowledge(&request, ack).await?, Some(request))
            }
        };
        Ok(Consumption { broker: self.clone(), topic, after, _request: request })
    }

    /// Makes an acknowledgement durable, if there is one, and returns the version up to which
    /// everything is acknowledged.
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
        let requested = request.acknowledge(ack);
        let _storing = requested.storing.lock().await;
        loop {
            (done, stored) = self.acknowledged(consumer, &name)?;
            if done >= ack {
                return Ok(done);
            }
            let through = requested.highest();
            let data = consumer.acknowledged(through);
            match self.store_position(&name, data, Some(stored)).await {
                Ok(_) => return Ok(through),
                // A cancelled request stored its acknowledgement meanwhile.
                Err(ProposeError::Rejected(Rejection::VersionMismatch { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The version up to which a consumer has acknowledged, and the version of that position.
    fn acknowledged(
        &self,
        consumer: &Consumer,
        name: &Name,
    ) -> Result<(Version, Version), ConsumeError> {
        let Some(position) = self.position(name) else { return Ok((0, 0)) };
        let acknowledged = consumer.read(position.data()).map_err(|reason| {
            error!(%reason, seq = position.seq(), "a consumer's position cannot be read");
            ConsumeError::Position
        })?;
        Ok((acknowledged, position.version()))
    }

    /// The latest public record of a topic.
    fn latest_of(&self, topic: &Name) -> Option<Arc<Record>> {
        let identity = Identity { event: topic.clone(), to: None };
        self.inner.hub.with_latest(|latest| latest.find(&identity).cloned())
    }
}

impl Consumption {
    /// The oldest record after the position, if there is one now.
    ///
    /// # Errors
    /// [`ConsumeError::Unavailable`].
    pub async fn next(&self) -> Result<Option<Arc<Record>>, ConsumeError> {
        let latest = self.broker.latest_of(&self.topic);
        let Some(latest) = latest.filter(|latest| latest.version() > self.after) else {
            return Ok(None);
        };
        // A consumer that keeps up needs no history.
        if latest.version() == self.after + 1 {
            return Ok(Some(latest));
        }
        match self.look_up().await {
            Ok(Some(record)) => return Ok(Some(Arc::new(record))),
            // The projection may lag: it has to reach the head first.
            Ok(None)
            | Err(Unavailable::Behind { .. } | Unavailable::Opening | Unavailable::Rebuilding) => {}
            Err(error) => return Err(error.into()),
        }
        self.broker.caught_up().await?;
        match self.look_up().await? {
            Some(record) => Ok(Some(Arc::new(record))),
            None => Err(Unavailable::Invalid.into()),
        }
    }

    /// As [`Consumption::next`], waiting up to `wait` for a record.
    ///
    /// # Errors
    /// [`ConsumeError::Unavailable`], and [`ProposeError::Stopping`] at a shutdown.
    pub async fn wait(&self, wait: Duration) -> Result<Option<Arc<Record>>, ConsumeError> {
        let until = Instant::now() + wait;
        let mut subscriber = self.subscriber();
        loop {
            // The subscription has begun, so a new record wakes it.
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
        let records = job.await.unwrap_or(Err(Unavailable::Invalid))?;
        Ok(records.into_iter().next())
    }
}

#[cfg(test)]
mod tests;

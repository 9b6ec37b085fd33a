//! Inserts: from events to a proposal, and from its verdict to an answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::RngCore as _;

use crate::audit::Salts;
use crate::broker::api::id_lookup::IdFinder;
use crate::broker::{Broker, BrokerInner, READ_WAIT};
use crate::decide::{Proposal, Proposed, Verdict};
use crate::order::{ProposeError, Submission, Ticket};
use crate::record::{NewEvent, Record};

/// The answer to an insert.
#[derive(Clone, Debug)]
pub struct Inserted {
    /// The records, in the order of the events.
    pub records: Vec<Arc<Record>>,
    /// Whether they were appended now. Otherwise their ids were seen before, and these are the
    /// original records.
    pub fresh: bool,
}

impl Inserted {
    /// The receipt, or those of a batch as an array.
    pub(crate) fn receipts_json(&self, is_batch: bool) -> Vec<u8> {
        if let [record] = self.records.as_slice()
            && !is_batch
        {
            return record.receipt_json();
        }
        let receipts: Vec<_> = self.records.iter().map(|record| record.receipt_json()).collect();
        [&b"["[..], &receipts.join(&b','), b"]"].concat()
    }
}

impl From<Verdict> for Inserted {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Append(records) => Self { records, fresh: true },
            Verdict::Known(records) => Self { records, fresh: false },
        }
    }
}

impl Broker {
    /// Appends one event; returns when it is on stable storage.
    ///
    /// # Errors
    /// [`ProposeError`]; its [`outcome`](ProposeError::outcome) says whether a retry with the same
    /// id may be needed.
    pub async fn insert(&self, event: NewEvent) -> Result<Inserted, ProposeError> {
        self.insert_batch(vec![event]).await
    }

    /// Appends events atomically, decided in order; returns when all are on stable storage.
    ///
    /// # Errors
    /// As [`Broker::insert`].
    pub async fn insert_batch(&self, events: Vec<NewEvent>) -> Result<Inserted, ProposeError> {
        Ok(self.propose(events).await?.await?.into())
    }

    /// As [`Broker::insert_batch`], for a caller whose thread may be held for a short append; see
    /// [`Order::propose_waiting`](crate::order::Order::propose_waiting).
    pub(crate) async fn insert_waiting(
        &self,
        events: Vec<NewEvent>,
    ) -> Result<Inserted, ProposeError> {
        Ok(self.propose_waiting(events).await?.await?.into())
    }

    /// The first half of [`Broker::insert_batch`], which fixes the place in the order. The ticket is
    /// the second half.
    pub(crate) async fn propose(&self, events: Vec<NewEvent>) -> Result<Ticket, ProposeError> {
        let submission = self.look_up(events).await?;
        self.inner.order.propose(submission)
    }

    /// The first half of [`Broker::insert_waiting`].
    pub(crate) async fn propose_waiting(
        &self,
        events: Vec<NewEvent>,
    ) -> Result<Ticket, ProposeError> {
        let submission = self.look_up(events).await?;
        self.inner.order.propose_waiting(submission).await
    }

    /// Looks up the caller's ids, off the appending thread.
    pub(crate) async fn look_up(&self, events: Vec<NewEvent>) -> Result<Submission, ProposeError> {
        if self.inner.stopping.load(Ordering::Relaxed) {
            return Err(ProposeError::Stopping);
        }
        let has_ids = events.iter().any(|event| event.id.is_some());
        let mut submission = Submission::new(propose(events));
        if !has_ids {
            return Ok(submission);
        }
        let BrokerInner { projection, reader, .. } = &*self.inner;
        let mut ids = IdFinder::new(projection.clone(), reader.clone());
        let looked_up = tokio::task::spawn_blocking(move || {
            ids.look_up(&mut submission)?;
            Ok(submission)
        });
        // A disk may hold that thread forever; nothing was stored yet.
        let looked_up = tokio::time::timeout(READ_WAIT, looked_up).await;
        let looked_up = looked_up.map_err(|_| {
            tracing::error!("a look-up of ids did not return");
            ProposeError::IdsNotReady
        });
        looked_up?.unwrap_or_else(|error| {
            tracing::error!(%error, "a look-up of ids panicked");
            Err(ProposeError::IdsNotReady)
        })
    }
}

/// A proposal of these events, with the random bytes that their records need.
pub(crate) fn propose(events: Vec<NewEvent>) -> Proposal {
    let mut random = rand::rng();
    let events = events.into_iter().map(|event| {
        let mut salts = Salts { meta: [0; 16], data: [0; 16] };
        let mut id_random = [0; 5];
        random.fill_bytes(&mut salts.meta);
        random.fill_bytes(&mut salts.data);
        random.fill_bytes(&mut id_random);
        Proposed { event, salts, id_random }
    });
    Proposal { events: events.collect() }
}

//! Inserts: what a caller proposes, and what it is answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::RngCore as _;

use crate::audit::Salts;
use crate::broker::api::id_lookup::IdFinder;
use crate::broker::{Broker, BrokerInner, READ_WAIT};
use crate::decide::{Proposal, Proposed, Verdict};
use crate::order::{Order as _, ProposeError, Submission, Ticket};
use crate::record::{NewEvent, Record};

/// What an insert answers.
#[derive(Clone, Debug)]
pub struct Inserted {
    /// The records, in the order of the events.
    pub records: Vec<Arc<Record>>,
    /// Whether they were appended now; otherwise their ids were seen before and these are the
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

    /// As [`Broker::insert_batch`], for a thread that may be held for one swift append.
    pub(crate) async fn insert_here(
        &self,
        events: Vec<NewEvent>,
    ) -> Result<Inserted, ProposeError> {
        Ok(self.propose_here(events).await?.await?.into())
    }

    /// The first half of [`Broker::insert_batch`]: what is proposed before something else is decided
    /// before it. The ticket is the second half.
    pub(crate) async fn propose(&self, events: Vec<NewEvent>) -> Result<Ticket, ProposeError> {
        let submission = self.look_up(events).await?;
        self.inner.order.propose(submission)
    }

    /// The first half of [`Broker::insert_here`].
    pub(crate) async fn propose_here(&self, events: Vec<NewEvent>) -> Result<Ticket, ProposeError> {
        let submission = self.look_up(events).await?;
        self.inner.order.propose_among(submission).await
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
        let mut engines = IdFinder::new(projection.clone(), reader.clone());
        let looked_up = tokio::task::spawn_blocking(move || {
            engines.look_up(&mut submission)?;
            Ok(submission)
        });
        // A thread that a disk holds is not waited for: nothing was stored.
        let looked_up = tokio::time::timeout(READ_WAIT, looked_up).await;
        let looked_up = looked_up.map_err(|_| {
            tracing::error!("a look-up of ids did not end");
            ProposeError::IdsNotReady
        });
        looked_up?.unwrap_or_else(|error| {
            tracing::error!(%error, "a look-up of ids panicked");
            Err(ProposeError::IdsNotReady)
        })
    }
}

/// Draws the random bytes that the records will need.
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

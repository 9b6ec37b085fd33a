//! Inserts messages in the queue's order until each has an outcome.
//!
//! Messages that wait together are one atomic batch, so that they share a sync, and a transient
//! failure never lets a later message overtake an earlier one.

use std::collections::HashSet;
use std::time::Duration;

use tracing::{info, warn};
use uuid::Uuid;

use crate::bridge::backoff::Backoff;
use crate::bridge::host::Host;
use crate::decide::{Rejection, Verdict};
use crate::order::ProposeError;
use crate::record::NewEvent;

/// The longest pause before an insert that failed is tried again.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The outcome of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Intake {
    /// Its record was stored now.
    Inserted,
    /// Its record was stored before.
    Known,
    /// It can never be accepted, for this reason.
    Refused(String),
}

/// Inserts events in order; completes when each is on stable storage or can never be accepted.
///
/// # Errors
/// When the log accepts no more inserts: events without an outcome may have been stored.
pub async fn insert_all<H: Host>(
    host: &H,
    events: Vec<NewEvent>,
) -> Result<Vec<Intake>, ProposeError> {
    let count = events.len();
    if count > 1 && are_ids_distinct(&events) {
        match insert_with_retry(host, &events).await {
            Ok(Verdict::Append(_)) => return Ok(vec![Intake::Inserted; count]),
            Ok(Verdict::Known(_)) => return Ok(vec![Intake::Known; count]),
            // Some of them were inserted before or cannot be accepted: insert each by itself.
            Err(ProposeError::Rejected(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let mut outcomes = Vec::with_capacity(count);
    for event in events {
        outcomes.push(insert_one(host, event).await?);
    }
    Ok(outcomes)
}

async fn insert_one<H: Host>(host: &H, event: NewEvent) -> Result<Intake, ProposeError> {
    match insert_with_retry(host, std::slice::from_ref(&event)).await {
        Ok(Verdict::Append(_)) => Ok(Intake::Inserted),
        Ok(Verdict::Known(_)) => Ok(Intake::Known),
        Err(ProposeError::Rejected(Rejection::IdTaken { id, .. })) => {
            check_taken_id(host, id, &event).await
        }
        Err(ProposeError::Rejected(rejection)) => Ok(Intake::Refused(rejection.to_string())),
        Err(error) => Err(error),
    }
}

/// Tells why an id is taken. If it has the same value, one of our own records came back without its
/// headers; otherwise the sender used the id twice.
async fn check_taken_id<H: Host>(
    host: &H,
    id: Uuid,
    event: &NewEvent,
) -> Result<Intake, ProposeError> {
    let mut pauses = RetryPauses::new();
    let found = loop {
        match host.find(id).await {
            Ok(found) => break found,
            Err(error) => pauses.wait(error).await?,
        }
    };
    let is_same = found.is_some_and(|record| {
        record.identity() == &event.identity && record.data() == event.data.as_bytes()
    });
    if is_same {
        return Ok(Intake::Known);
    }
    Ok(Intake::Refused(format!(
        "its id, {id} here, was already used for another insert: choose a new one"
    )))
}

/// Inserts a batch, and retries after transient failures.
async fn insert_with_retry<H: Host>(
    host: &H,
    events: &[NewEvent],
) -> Result<Verdict, ProposeError> {
    let mut pauses = RetryPauses::new();
    loop {
        match host.insert(events.to_vec()).await {
            Ok(verdict) => {
                pauses.done();
                return Ok(verdict);
            }
            Err(error) => pauses.wait(error).await?,
        }
    }
}

fn are_ids_distinct(events: &[NewEvent]) -> bool {
    let mut ids = HashSet::new();
    events.iter().filter_map(|event| event.id).all(|id| ids.insert(id))
}

/// Whether a failure ends by itself or can be fixed by the operator while messages wait.
fn is_transient(error: &ProposeError) -> bool {
    match error {
        ProposeError::IdsNotReady
        | ProposeError::NoSpace
        | ProposeError::ProjectionLag { .. }
        | ProposeError::QueueFull => true,
        ProposeError::Rejected(rejection) => match rejection {
            Rejection::TooManyBytes { .. } | Rejection::TooManyEvents { .. } => true,
            Rejection::EmptyBatch
            | Rejection::IdTaken { .. }
            | Rejection::IdTwice { .. }
            | Rejection::PartlySeen { .. }
            | Rejection::TooManyConsumers { .. }
            | Rejection::VersionMismatch { .. } => false,
        },
        ProposeError::Stopping | ProposeError::StorageFailed | ProposeError::Unknown => false,
    }
}

/// The pauses of one insert. Logs that messages wait, and when they are inserted again.
struct RetryPauses {
    backoff: Backoff,
    has_waited: bool,
}

impl RetryPauses {
    fn new() -> Self {
        Self { backoff: Backoff::new(PAUSE_MAX), has_waited: false }
    }

    /// Pauses after a transient failure; returns any other.
    async fn wait(&mut self, error: ProposeError) -> Result<(), ProposeError> {
        if !is_transient(&error) {
            return Err(error);
        }
        let pause = self.backoff.next();
        let retry_seconds = pause.as_secs_f64();
        warn!(%error, retry_seconds, "cannot insert messages of RabbitMQ; they wait");
        self.has_waited = true;
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn done(&self) {
        if self.has_waited {
            info!("inserting messages of RabbitMQ again");
        }
    }
}

#[cfg(test)]
mod tests;

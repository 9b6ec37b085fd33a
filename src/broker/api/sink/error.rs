//! What a sink tells of events that were not appended, and of those that were.

use std::fmt;

use thiserror::Error;
use uuid::Uuid;

use crate::order::{Outcome, ProposeError};

/// Events of an [`EventSink`](crate::broker::api::sink::EventSink) that were not appended, or of which that is not
/// known.
///
/// Of every event that was sent before it the outcome is known by now: it stands among the failures,
/// of this error or of an earlier one, or it is on stable storage.
#[derive(Clone, Debug)]
pub struct SinkError {
    failures: Vec<SinkFailure>,
    sent: u64,
}

/// One event that was not acknowledged.
#[derive(Clone, Debug, Error)]
#[error("event {index} of the sink{}: {error}", IdOf(*id))]
pub struct SinkFailure {
    /// How many events were sent into the sink before it.
    pub index: u64,
    /// The id that it was sent with.
    pub id: Option<Uuid>,
    /// Why; its [`outcome`](ProposeError::outcome) says whether it may have been appended all the
    /// same.
    #[source]
    pub error: ProposeError,
}

impl SinkError {
    /// Nothing when there are no failures.
    pub(crate) fn of(mut failures: Vec<SinkFailure>, sent: u64) -> Result<(), Self> {
        if failures.is_empty() {
            return Ok(());
        }
        // The last one may have been refused before those before it were answered.
        failures.sort_unstable_by_key(|failure| failure.index);
        Err(Self { failures, sent })
    }

    /// The events that failed since the sink's last error, in the order in which they were sent;
    /// at least one.
    #[must_use]
    pub fn failures(&self) -> &[SinkFailure] {
        &self.failures
    }

    /// How many events had been sent into the sink.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether any of the events that failed may have been appended all the same.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let mut outcomes = self.failures.iter().map(|failure| failure.error.outcome());
        outcomes.find(|outcome| *outcome == Outcome::Unknown).unwrap_or(Outcome::NotStored)
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, others @ ..] = self.failures.as_slice() else { return Ok(()) };
        write!(out, "{first}")?;
        if !others.is_empty() {
            write!(out, " (and {} more)", others.len())?;
        }
        write!(
            out,
            "; of {} that were sent, those that no error names are on stable storage",
            self.sent
        )
    }
}

impl std::error::Error for SinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failures.first().map(|first| first as _)
    }
}

/// ` (id …)`, if there is one.
struct IdOf(Option<Uuid>);

impl fmt::Display for IdOf {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |id| write!(out, " (id {id})"))
    }
}

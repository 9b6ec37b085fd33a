//! The outcome of the events that were sent into a sink.

use std::fmt;

use thiserror::Error;
use uuid::Uuid;

use crate::order::{Outcome, ProposeError};

/// Events of an [`EventSink`](crate::EventSink) that were not appended, or whose outcome is unknown.
///
/// Every other event that was sent so far is on stable storage, or among the failures of an earlier
/// error.
#[derive(Clone, Debug)]
pub struct SinkError {
    failures: Vec<SinkFailure>,
    sent: u64,
}

/// One event that was not acknowledged.
#[derive(Clone, Debug, Error)]
#[error("event {index} of the sink{}: {error}", IdOf(*id))]
pub struct SinkFailure {
    /// Number of events that were sent into the sink before it.
    pub index: u64,
    /// The id that it was sent with.
    pub id: Option<Uuid>,
    /// The reason; its [`outcome`](ProposeError::outcome) says whether it may have been appended.
    #[source]
    pub error: ProposeError,
}

impl SinkError {
    /// `Ok` if there are no failures.
    pub(crate) fn of(mut failures: Vec<SinkFailure>, sent: u64) -> Result<(), Self> {
        if failures.is_empty() {
            return Ok(());
        }
        // The last event may have been refused before earlier ones were answered.
        failures.sort_unstable_by_key(|failure| failure.index);
        Err(Self { failures, sent })
    }

    /// The events that failed since the sink's last error, in the order in which they were sent;
    /// at least one.
    #[must_use]
    pub fn failures(&self) -> &[SinkFailure] {
        &self.failures
    }

    /// Number of events that had been sent into the sink.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether any failed event may have been appended.
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
            "; of the {} sent events, all that no error names are on stable storage",
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

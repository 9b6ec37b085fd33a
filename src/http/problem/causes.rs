//! Converts the errors of inner modules to problems.

use crate::broker::ConsumeError;
use crate::decide::Rejection;
use crate::http::problem::{Code, Problem};
use crate::order::ProposeError;
use crate::projection::Unavailable;
use crate::record::json::JsonError;

impl From<ProposeError> for Problem {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::IdsNotReady => Self::new(Code::IdsNotReady)
                .detail("older ids are being loaded: retry soon, or insert without an id"),
            ProposeError::NoSpace => {
                Self::new(Code::DiskFull).detail("nothing was stored; reads still work")
            }
            ProposeError::ProjectionLag { .. } => {
                Self::new(Code::Behind).detail("nothing was stored; retry soon")
            }
            ProposeError::QueueFull => {
                Self::new(Code::QueueFull).detail("nothing was stored; retry soon")
            }
            ProposeError::Rejected(rejection) => rejection.into(),
            ProposeError::Stopping => {
                Self::new(Code::ShuttingDown).detail("nothing was stored; retry soon")
            }
            ProposeError::StorageFailed => {
                Self::new(Code::StorageFailed).detail("nothing was stored")
            }
            ProposeError::Unknown => Self::new(Code::OutcomeUnknown)
                .detail("the insert may have been stored: a retry with the same id is safe"),
        }
    }
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        Self::new(Code::MalformedJson)
            .detail(&error)
            .member("line", error.line)
            .member("column", error.column)
    }
}

impl From<ConsumeError> for Problem {
    fn from(error: ConsumeError) -> Self {
        match error {
            ConsumeError::AckTooNew { latest, .. } => Self::new(Code::AckTooNew)
                .detail(format!("{error}; acknowledge a version that was delivered"))
                .member("newest_version", latest),
            ConsumeError::Busy => Self::new(Code::ConsumerBusy).detail(
                "only one request of a consumer may wait: let it end, or use another consumer",
            ),
            ConsumeError::Position => Self::new(Code::Internal),
            ConsumeError::Propose(ProposeError::Unknown) => Self::new(Code::OutcomeUnknown)
                .detail("the acknowledgement may have been stored: a retry is safe"),
            ConsumeError::Propose(error) => error.into(),
            ConsumeError::Unavailable(unavailable) => unavailable.into(),
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let problem = match &rejection {
            Rejection::EmptyBatch => Self::new(Code::EmptyBatch),
            Rejection::IdTaken { index, id } => {
                Self::new(Code::IdTaken).member("index", *index).member("id", id.to_string())
            }
            Rejection::IdTwice { index, id } => {
                Self::new(Code::IdTwice).member("index", *index).member("id", id.to_string())
            }
            Rejection::PartlySeen { seen, .. } => Self::new(Code::PartlySeen).member("seen", *seen),
            Rejection::TooManyConsumers { .. } => Self::new(Code::TooManyConsumers),
            Rejection::TooManyBytes { .. } | Rejection::TooManyEvents { .. } => {
                Self::new(Code::LimitReached)
            }
            Rejection::VersionMismatch { index, expected, current } => {
                Self::new(Code::VersionMismatch)
                    .member("index", *index)
                    .member("expected_version", *expected)
                    .member("current_version", *current)
            }
        };
        problem.detail(rejection)
    }
}

impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::Behind { .. } => {
                Self::new(Code::Behind).detail("the read waited for 5 s; retry soon")
            }
            Unavailable::Closed => Self::new(Code::ShuttingDown).detail("retry soon"),
            Unavailable::Damaged => Self::new(Code::StorageFailed)
                .detail("a record of this history cannot be read; everything else still works"),
            Unavailable::Opening => {
                Self::new(Code::Behind).detail("the history is being opened; retry soon")
            }
            Unavailable::Invalid | Unavailable::Rebuilding => {
                Self::new(Code::Behind).detail("the history is being rebuilt; retry soon")
            }
            Unavailable::Failed => Self::new(Code::StorageFailed)
                .detail("the history cannot be read; inserts still work"),
        }
    }
}

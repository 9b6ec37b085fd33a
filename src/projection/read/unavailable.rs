//! Why a read was refused.

use thiserror::Error;

use crate::record::Seq;

/// Why a read was refused. It does not say whether the requested data exists.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unavailable {
    /// The position was not reached in time; a retry may succeed.
    #[error("the projection is at {applied} and has not reached {wanted} yet")]
    Behind {
        /// Seq of the last record applied.
        applied: Seq,
        /// The seq to be reached.
        wanted: Seq,
    },
    /// It was closed.
    #[error("the projection is closed")]
    Closed,
    /// The log is damaged, or cannot be read, at the location of a record; other records can be
    /// read.
    #[error("the log cannot be read at the location of a record")]
    Damaged,
    /// The store contradicts itself or the log: it is being rebuilt, and a retry may succeed.
    #[error("the projection is invalid and is being rebuilt")]
    Invalid,
    /// It cannot be built.
    #[error("the projection failed")]
    Failed,
    /// It is being opened; a retry may succeed.
    #[error("the projection is being opened")]
    Opening,
    /// It is being rebuilt; a retry may succeed.
    #[error("the projection is being rebuilt")]
    Rebuilding,
}

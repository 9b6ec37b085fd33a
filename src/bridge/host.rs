//! The seam to the log that the bridge belongs to.

use std::sync::Arc;

use uuid::Uuid;

use crate::decide::Verdict;
use crate::order::ProposeError;
use crate::record::{Data, Name, NewEvent, Record, Seq};
use crate::subscription::{Selector, Subscriber};

/// What the bridge needs of the log that it belongs to.
///
/// An implementer owes:
///
/// - [`Host::insert`] as [`crate::broker::Broker::insert_batch`]: `Ok` only for what is on stable storage,
///   whole or not at all.
/// - [`Host::follow`] hands out every record that matches, each once, in order.
/// - [`Host::store_position`] works until the bridge has ended, also while the log shuts down.
/// - Once the log is gone every call says so, as [`ProposeError::Stopping`] or `None`.
pub trait Host: 'static {
    /// Identity of the log, the same for ever.
    fn log_id(&self) -> Uuid;

    /// The seq of its last record.
    fn head(&self) -> Seq;

    /// Every record after a seq, from the log.
    fn follow(&self, selector: Selector, after: Seq) -> Option<Subscriber>;

    /// The newest version of a system record that keeps a position.
    fn position(&self, name: &Name) -> Option<Arc<Record>>;

    /// Keeps a position; returns when it is on stable storage.
    fn store_position(
        &self,
        name: &Name,
        data: Data,
    ) -> impl Future<Output = Result<(), ProposeError>>;

    /// Appends events atomically, unless they were seen before.
    fn insert(&self, events: Vec<NewEvent>) -> impl Future<Output = Result<Verdict, ProposeError>>;

    /// The record that an id belongs to.
    fn find(&self, id: Uuid) -> impl Future<Output = Result<Option<Arc<Record>>, ProposeError>>;
}

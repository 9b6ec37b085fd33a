//! The interface to the log that the bridge belongs to.

use std::sync::Arc;

use uuid::Uuid;

use crate::decide::Verdict;
use crate::order::ProposeError;
use crate::record::{Data, Name, NewEvent, Record, Seq};
use crate::subscription::{Selector, Subscriber};

/// The log that the bridge belongs to.
///
/// An implementer must ensure that:
///
/// - [`Host::insert`] stores all events or none, and answers `Ok` only when they are on stable
///   storage, as [`crate::broker::Broker::insert_batch`] does.
/// - [`Host::follow`] delivers every matching record once, in order.
/// - [`Host::store_position`] works until the bridge has ended, also while the log shuts down.
/// - Once the log is gone, every call answers [`ProposeError::Stopping`] or `None`.
pub trait Host: 'static {
    /// The id of the log, which never changes.
    fn log_id(&self) -> Uuid;

    /// The seq of its last record.
    fn head(&self) -> Seq;

    /// Subscribes to every matching record after a seq, from the log.
    fn follow(&self, selector: Selector, after: Seq) -> Option<Subscriber>;

    /// The latest version of a system record that stores a position.
    fn position(&self, name: &Name) -> Option<Arc<Record>>;

    /// Stores a position; completes when it is on stable storage.
    fn store_position(
        &self,
        name: &Name,
        data: Data,
    ) -> impl Future<Output = Result<(), ProposeError>>;

    /// Appends events atomically, unless they were inserted before.
    fn insert(&self, events: Vec<NewEvent>) -> impl Future<Output = Result<Verdict, ProposeError>>;

    /// Looks up the record with an id.
    fn find(&self, id: Uuid) -> impl Future<Output = Result<Option<Arc<Record>>, ProposeError>>;
}

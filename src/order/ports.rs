//! What an order needs from outside.

use std::sync::Arc;

use uuid::Uuid;

use crate::journal::AppendError;
use crate::order::submission::ProposeError;
use crate::record::{Record, Seq};

/// Where groups become durable.
pub trait Log: Send + 'static {
    /// Returns once the group is on stable storage.
    ///
    /// # Errors
    /// [`AppendError`], which says whether anything may have been stored.
    fn append(&mut self, records: &[Arc<Record>]) -> Result<(), AppendError>;

    /// Whether a group of about this size needs only a write and a sync, and no new file.
    fn has_room(&self, bytes: usize) -> bool;

    /// Called once, after the last group.
    ///
    /// # Errors
    /// The failure as a sentence.
    fn close(self) -> Result<(), String>;
}

/// Receives every durable group, in order, before it is acknowledged.
pub trait Observer: Send + 'static {
    /// Must not block: the next group waits for it.
    fn committed(&mut self, group: &[Arc<Record>]);

    /// All groups so far are acknowledged.
    fn acknowledged(&mut self);
}

/// Finds the records of ids that are not recent.
pub trait RestoredIds: Send + 'static {
    /// Every record up to here can be found by its id, unless the id names its seq.
    fn applied(&self) -> Seq;

    /// The record of an old id that does not name its seq, if it is applied.
    ///
    /// # Errors
    /// [`ProposeError::IdsNotReady`] if that cannot be told now.
    fn find_old(&self, id: &Uuid) -> Result<Option<Arc<Record>>, ProposeError>;

    /// The record at a durable seq.
    ///
    /// # Errors
    /// [`ProposeError::IdsNotReady`] if it cannot be read.
    fn at(&mut self, seq: Seq) -> Result<Arc<Record>, ProposeError>;
}

/// Everything that an order needs from outside.
#[derive(Debug)]
pub struct Ports<L, O, I> {
    /// The log.
    pub log: L,
    /// Receives durable groups.
    pub observer: O,
    /// Old ids.
    pub ids: I,
}

//! What the order asks of engines.

use std::sync::Arc;

use uuid::Uuid;

use crate::journal::AppendError;
use crate::order::ProposeError;
use crate::record::{Record, Seq};

/// Where groups become durable.
pub trait Log: Send + 'static {
    /// Returns once the group is on stable storage.
    ///
    /// # Errors
    /// [`AppendError`]: whether anything may have been stored.
    fn append(&mut self, records: &[Arc<Record>]) -> Result<(), AppendError>;

    /// Whether a group of about so many bytes is only a write and a sync.
    fn has_room(&self, bytes: usize) -> bool;

    /// Called once, after the last group.
    ///
    /// # Errors
    /// The failure as a sentence.
    fn close(self) -> Result<(), String>;
}

/// Who is told of every durable group, in order, before it is acknowledged.
pub trait Observer: Send + 'static {
    /// Must not block: the next group waits for it.
    fn committed(&mut self, group: &[Arc<Record>]);

    /// The groups so far are acknowledged too.
    fn acknowledged(&mut self);

    /// The log failed for good.
    fn failed(&mut self, error: &AppendError);
}

/// Where ids are found that are not recent.
pub trait RestoredIds: Send + 'static {
    /// Every record up to here can be found by its id, unless that names its place.
    fn applied(&self) -> Seq;

    /// The record of an old id that does not name its place, when it is applied.
    ///
    /// # Errors
    /// [`ProposeError::IdsNotReady`] when that cannot be told now.
    fn find_old(&self, id: &Uuid) -> Result<Option<Arc<Record>>, ProposeError>;

    /// The record at a seq that is durable.
    ///
    /// # Errors
    /// [`ProposeError::IdsNotReady`] when it cannot be read.
    fn at(&mut self, seq: Seq) -> Result<Arc<Record>, ProposeError>;
}

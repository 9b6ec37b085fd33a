//! Ports that do as little as possible, for tests that need only one of them.

use std::sync::Arc;

use uuid::Uuid;

use crate::audit::Salts;
use crate::decide::{Proposal, Proposed};
use crate::journal::AppendError;
use crate::order::ports::{Log, Observer, RestoredIds};
use crate::order::submission::{ProposeError, Submission};
use crate::record::{NewEvent, Record, Seq};

/// A disk that stores nothing and never fails.
pub struct NullLog;

impl Log for NullLog {
    fn append(&mut self, _: &[Arc<Record>]) -> Result<(), AppendError> {
        Ok(())
    }

    fn has_room(&self, _: usize) -> bool {
        true
    }

    fn close(self) -> Result<(), String> {
        Ok(())
    }
}

/// Ignores every group.
pub struct NullObserver;

impl Observer for NullObserver {
    fn committed(&mut self, _: &[Arc<Record>]) {}

    fn acknowledged(&mut self) {}
}

/// A projection that has applied everything and holds no id.
pub struct NoIds;

impl RestoredIds for NoIds {
    fn applied(&self) -> Seq {
        Seq::MAX
    }

    fn find_old(&self, _: &Uuid) -> Result<Option<Arc<Record>>, ProposeError> {
        Ok(None)
    }

    fn at(&mut self, _: Seq) -> Result<Arc<Record>, ProposeError> {
        Err(ProposeError::IdsNotReady)
    }
}

/// A proposal of these values for the event `a`.
pub fn submission<T: serde::Serialize>(data: impl IntoIterator<Item = T>) -> Submission {
    let events = data.into_iter().map(|data| Proposed {
        event: NewEvent::new("a", &data).unwrap(),
        salts: Salts { meta: [1; 16], data: [2; 16] },
        id_random: [3; 5],
    });
    Submission::new(Proposal { events: events.collect() })
}

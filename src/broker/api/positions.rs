//! Positions: how far a reader of the log has come, kept in the log itself as a system record.
//!
//! A stored position is on stable storage, in every snapshot, backup and export, and found without
//! a look-up: the latest version of each system record is in memory with the latest records. The
//! owner of a position decides its name and its content.

use std::sync::Arc;

use crate::broker::Broker;
use crate::broker::api::inserts::{Inserted, propose};
use crate::order::{ProposeError, Submission};
use crate::record::{Data, Identity, Name, NewEvent, Record, Version};

impl Broker {
    /// The latest position under a system name, if one was ever stored.
    pub(crate) fn position(&self, name: &Name) -> Option<Arc<Record>> {
        debug_assert!(name.is_system(), "positions are the system's");
        let identity = Identity { event: name.clone(), to: None };
        self.inner.hub.with_latest(|latest| latest.find(&identity).cloned())
    }

    /// Stores a position under a system name; returns when it is on stable storage. With
    /// `expected_version` only if that is its latest version (0 if there is none), so that two
    /// writers cannot undo each other's positions.
    ///
    /// Positions that are stored at the same time share a sync with each other and with inserts.
    ///
    /// # Errors
    /// [`ProposeError`] as of an insert: after [`Outcome::Unknown`](crate::order::Outcome::Unknown)
    /// it may have been stored.
    pub(crate) async fn store_position(
        &self,
        name: &Name,
        data: Data,
        expected_version: Option<Version>,
    ) -> Result<Arc<Record>, ProposeError> {
        debug_assert!(name.is_system(), "positions are the system's");
        let identity = Identity { event: name.clone(), to: None };
        let event = NewEvent { identity, data, id: None, expected_version, author: None };
        // Not refused during a shutdown, which is when last positions are stored.
        let submission = Submission::new(propose(vec![event]));
        let stored: Inserted = self.inner.order.propose_waiting(submission).await?.await?.into();
        Ok(stored.records.into_iter().next().expect("one event makes one record"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::decide::Rejection;

    fn config(dir: &tempfile::TempDir) -> Config {
        // A snapshot is due at once.
        Config::default().data_dir(dir.path()).segment_bytes(64 << 10).snapshot_bytes(4 << 10)
    }

    fn data(n: Version) -> Data {
        Data::checked(format!("{{\"n\":{n}}}").into())
    }

    /// A snapshot once lacked system records, so their versions began again at 1 after a start from
    /// it.
    #[tokio::test]
    async fn a_position_and_its_version_survive_a_start_from_a_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        let name = Name::system("bridge.test");
        let broker = Broker::open(config(&dir)).await.unwrap();
        assert_eq!(broker.position(&name), None);
        let mut version = 0;
        while !dir.path().join("journal/snapshot").exists() {
            version += 1;
            let stored = broker.store_position(&name, data(version), None).await.unwrap();
            assert_eq!(stored.version(), version);
            assert_eq!(broker.position(&name), Some(stored));
        }
        let mut last = broker.position(&name);
        broker.shutdown().await;
        for _ in 0..2 {
            let broker = Broker::open(config(&dir)).await.unwrap();
            assert_eq!(broker.position(&name), last);
            let stored = broker.store_position(&name, data(version + 1), Some(version)).await;
            last = Some(stored.unwrap());
            version += 1;
            broker.shutdown().await;
        }
    }

    #[tokio::test]
    async fn a_position_is_stored_only_over_the_expected_version() {
        let dir = tempfile::tempdir().unwrap();
        let name = Name::system("bridge.test");
        let broker = Broker::open(config(&dir)).await.unwrap();
        broker.store_position(&name, data(1), Some(0)).await.unwrap();
        let refused = broker.store_position(&name, data(2), Some(0)).await.unwrap_err();
        let ProposeError::Rejected(Rejection::VersionMismatch { current, .. }) = refused else {
            panic!("{refused}");
        };
        assert_eq!(current, 1);
        assert_eq!(broker.position(&name).unwrap().data(), data(1).as_bytes());
        broker.shutdown().await;
    }
}

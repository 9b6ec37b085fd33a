//! How far the way out has come, kept in the log itself.

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::bridge::host::Host;
use crate::order::ProposeError;
use crate::record::{Data, Name, Seq};

/// Records that are looked at before a position is kept although none of them went out: a start
/// passes over no more than that again.
const UNSTORED_MAX: u64 = 1_000;

/// A position, and what of it is kept. It only rises.
#[derive(Debug)]
pub(super) struct Position {
    name: Name,
    seq: Seq,
    stored: Seq,
    /// Records that RabbitMQ confirmed since it was kept.
    confirmed: u64,
}

/// The data of the system record.
#[derive(Debug, Deserialize, Serialize)]
struct StoredPosition {
    seq: Seq,
}

impl Position {
    /// The position that was kept for an exchange; the log's beginning when none was.
    pub fn find(host: &impl Host, exchange: &Name) -> Self {
        let name = Name::system(&format!("bridge.{exchange}"));
        let stored = host.position(&name).map_or(0, |record| {
            serde_json::from_slice(record.data()).map_or_else(
                |error| {
                    warn!(%error, %name, "the position cannot be read; everything is sent again");
                    0
                },
                |StoredPosition { seq }| seq,
            )
        });
        Self { name, seq: stored, stored, confirmed: 0 }
    }

    /// Every record up to here was confirmed, or is not to go out.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// It rises to `seq`, by so many records that RabbitMQ confirmed.
    pub fn advance(&mut self, seq: Seq, confirmed: u64) {
        self.seq = self.seq.max(seq);
        self.confirmed += confirmed;
    }

    /// Whether so much happened since it was kept that waiting for the next time is too long.
    pub fn is_store_due(&self) -> bool {
        self.seq - self.stored >= UNSTORED_MAX
    }

    /// Keeps it, unless nothing happened that is worth a record: its own record moves the log on,
    /// too.
    pub async fn store(&mut self, host: &impl Host) -> Result<(), ProposeError> {
        if self.seq == self.stored || (self.confirmed == 0 && !self.is_store_due()) {
            return Ok(());
        }
        let (seq, confirmed) = (self.seq, self.confirmed);
        let json =
            serde_json::to_vec(&StoredPosition { seq }).expect("a struct of a number serialises");
        host.store_position(&self.name, Data::checked(json.into())).await?;
        self.stored = seq;
        self.confirmed -= confirmed;
        Ok(())
    }
}

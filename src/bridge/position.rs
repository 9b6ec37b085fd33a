//! The position of the outbound direction, stored in the log itself.

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::bridge::host::Host;
use crate::order::ProposeError;
use crate::record::{Data, Name, Seq};

/// Records after which the position is stored although none of them went out, so that a start reads
/// no more than that again.
const UNSTORED_MAX: u64 = 1_000;

/// A position that only rises, and its stored value.
#[derive(Debug)]
pub(super) struct Position {
    name: Name,
    seq: Seq,
    stored: Seq,
    /// Records that RabbitMQ confirmed since the position was stored.
    confirmed: u64,
}

/// The data of the system record that stores a position.
#[derive(Debug, Deserialize, Serialize)]
struct StoredPosition {
    seq: Seq,
}

impl Position {
    /// The stored position for an exchange; 0 if none is stored.
    pub fn find(host: &impl Host, exchange: &Name) -> Self {
        let name = Name::system(&format!("bridge.{exchange}"));
        let stored = host.position(&name).map_or(0, |record| {
            serde_json::from_slice(record.data()).map_or_else(
                |error| {
                    warn!(%error, %name, "cannot read the position; every record is sent again");
                    0
                },
                |StoredPosition { seq }| seq,
            )
        });
        Self { name, seq: stored, stored, confirmed: 0 }
    }

    /// Every record up to here was confirmed or is not to be sent.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Raises the position to `seq`, after RabbitMQ confirmed `confirmed` records.
    pub fn advance(&mut self, seq: Seq, confirmed: u64) {
        self.seq = self.seq.max(seq);
        self.confirmed += confirmed;
    }

    /// Whether the position must be stored before the interval has passed.
    pub fn is_store_due(&self) -> bool {
        self.seq - self.stored >= UNSTORED_MAX
    }

    /// Stores the position, unless the change is not worth a record: each stored position is itself
    /// a record that moves the log on.
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

//! How far the way out has come, kept in the log itself.

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::bridge::host::Host;
use crate::order::ProposeError;
use crate::record::{Data, Name, Seq};

/// Records that are looked at before a position is kept although none of them went out: a start
/// passes over no more than that again.
const PASSED_MAX: u64 = 1_000;

/// A position, and what of it is kept. It only rises.
#[derive(Debug)]
pub(super) struct Position {
    name: Name,
    now: Seq,
    kept: Seq,
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
        let kept = host.position(&name).map_or(0, |record| {
            serde_json::from_slice(record.data()).map_or_else(
                |error| {
                    warn!(%error, %name, "the position cannot be read; everything is sent again");
                    0
                },
                |StoredPosition { seq }| seq,
            )
        });
        Self { name, now: kept, kept, confirmed: 0 }
    }

    /// Every record up to here was confirmed, or is not to go out.
    pub fn now(&self) -> Seq {
        self.now
    }

    /// It rises to `seq`, by so many records that RabbitMQ confirmed.
    pub fn rise(&mut self, seq: Seq, confirmed: u64) {
        self.now = self.now.max(seq);
        self.confirmed += confirmed;
    }

    /// Whether so much happened since it was kept that waiting for the next time is too long.
    pub fn is_far(&self) -> bool {
        self.now - self.kept >= PASSED_MAX
    }

    /// Keeps it, unless nothing happened that is worth a record: its own record moves the log on,
    /// too.
    pub async fn keep(&mut self, host: &impl Host) -> Result<(), ProposeError> {
        if self.now == self.kept || (self.confirmed == 0 && !self.is_far()) {
            return Ok(());
        }
        let (seq, confirmed) = (self.now, self.confirmed);
        let json =
            serde_json::to_vec(&StoredPosition { seq }).expect("a struct of a number serialises");
        host.store_position(&self.name, Data::checked(json.into())).await?;
        self.kept = seq;
        self.confirmed -= confirmed;
        Ok(())
    }
}

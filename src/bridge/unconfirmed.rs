//! Published records that RabbitMQ has not confirmed, bounded in number and bytes.

use std::collections::VecDeque;

use futures_util::FutureExt as _;
use lapin::{Confirmation, PublisherConfirm};

use crate::bridge::connection::ConnectionError;
use crate::record::Seq;

/// Maximum number of unconfirmed records: enough to keep RabbitMQ busy, and few enough to be sent
/// again.
const UNCONFIRMED_MAX: usize = 256;
/// Maximum bytes of unconfirmed records, which lapin holds while RabbitMQ blocks the connection;
/// the last record may exceed it.
const UNCONFIRMED_BYTES_MAX: usize = 4 << 20;

/// Published records without a confirmation, oldest first.
#[derive(Default)]
pub(super) struct Unconfirmed {
    sent: VecDeque<SentRecord>,
    bytes: usize,
}

/// A published record.
pub(super) struct SentRecord {
    pub seq: Seq,
    /// Length of its JSON.
    pub bytes: usize,
    pub confirm: PublisherConfirm,
}

impl Unconfirmed {
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Whether another record may be published.
    pub fn has_room(&self) -> bool {
        self.sent.len() < UNCONFIRMED_MAX && self.bytes < UNCONFIRMED_BYTES_MAX
    }

    /// The seq of the oldest record.
    pub fn first_seq(&self) -> Option<Seq> {
        self.sent.front().map(|sent| sent.seq)
    }

    pub fn push(&mut self, sent: SentRecord) {
        self.bytes += sent.bytes;
        self.sent.push_back(sent);
    }

    /// Waits for the oldest confirmation, forever if there is none, and takes those that are ready
    /// after it; returns their number.
    ///
    /// # Errors
    /// When RabbitMQ refused a record or the connection is lost.
    pub async fn confirm(&mut self) -> Result<u64, ConnectionError> {
        let Some(oldest) = self.sent.front_mut() else {
            return std::future::pending().await;
        };
        let mut confirmation = (&mut oldest.confirm).await;
        let mut confirmed = 0;
        loop {
            match confirmation? {
                Confirmation::Ack(_) => {}
                Confirmation::Nack(_) | Confirmation::NotRequested => {
                    return Err(ConnectionError::Refused);
                }
            }
            confirmed += 1;
            if let Some(sent) = self.sent.pop_front() {
                self.bytes -= sent.bytes;
            }
            let next = self.sent.front_mut();
            match next.and_then(|sent| (&mut sent.confirm).now_or_never()) {
                Some(ready) => confirmation = ready,
                None => return Ok(confirmed),
            }
        }
    }
}

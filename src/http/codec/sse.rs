//! Encodes records as server-sent events (WHATWG HTML, section 9.2).
//!
//! A block is `id`, `event`, `data` in that order, without a space after the colon: existing
//! clients need it exactly so. A record is one line, because its JSON is compact.

use std::sync::Arc;

use rand::Rng as _;

use crate::http::codec::wire_encoding::WireEncoding;
use crate::record::{Cursor, Record};
use crate::subscription::ControlEvent;

/// The heartbeat is a line, not a block: some clients deliver a blank line as an empty message.
pub const HEARTBEAT: &[u8] = b":\n";

/// Bytes of a block without name and data: a cursor of at most 54 bytes, field names, line ends.
const BLOCK_BYTES: usize = 80;

/// Clients are told to reconnect after a random delay in this range, in milliseconds.
const RETRY_MILLIS: std::ops::RangeInclusive<u32> = 1_000..=5_000;

/// The event type under which records are dispatched to listeners of an EventSource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispatch {
    /// All as the default type, `message`.
    Message,
    /// Each as its event's name.
    Named,
}

impl Dispatch {
    /// The key under which a batch caches its blocks.
    pub fn encoding(self) -> WireEncoding {
        match self {
            Self::Message => WireEncoding::Message,
            Self::Named => WireEncoding::Named,
        }
    }
}

/// Encodes blocks for one client, or for all clients of a subscriber group.
#[derive(Debug)]
pub struct Encoder {
    dispatch: Dispatch,
    out: Vec<u8>,
    /// Whether the next block is the first one, which carries `retry`.
    first: bool,
}

impl Encoder {
    pub fn new(dispatch: Dispatch) -> Self {
        Self { dispatch, out: Vec::new(), first: true }
    }

    /// Makes an encoder of blocks that suit any client of a group, except as its first.
    pub fn for_group(dispatch: Dispatch) -> Self {
        Self { dispatch, out: Vec::new(), first: false }
    }

    /// Whether the next block is the first one.
    pub fn is_first(&self) -> bool {
        self.first
    }

    pub fn dispatch(&self) -> Dispatch {
        self.dispatch
    }

    /// Appends a block for each record; `cursor` is any cursor of the group. The common parts of
    /// the cursors are formatted once, so that a block costs little more than copying its bytes.
    pub fn records(&mut self, cursor: Cursor, records: &[Arc<Record>]) {
        let before = format!("id:{}-", cursor.epoch);
        let after = format!("-{}\n", cursor.view);
        let bytes =
            records.iter().map(|record| record.json().len() + record.event().as_str().len());
        self.out.reserve(bytes.sum::<usize>() + records.len() * BLOCK_BYTES);
        for record in records {
            self.out.extend_from_slice(before.as_bytes());
            push_decimal(&mut self.out, record.seq());
            self.out.extend_from_slice(after.as_bytes());
            if self.dispatch == Dispatch::Named {
                self.event(record.event().as_str());
            }
            self.data(record.json());
        }
    }

    pub fn control_event(&mut self, cursor: Cursor, event: ControlEvent) {
        match event {
            ControlEvent::Reset => {
                let data = format!("{{\"cursor\":\"{cursor}\"}}");
                self.block(cursor, "broker:reset", data.as_bytes());
            }
            ControlEvent::Synced { events } => {
                let data = format!("{{\"cursor\":\"{cursor}\",\"events\":{events}}}");
                self.block(cursor, "broker:synced", data.as_bytes());
            }
        }
    }

    /// Takes what was encoded since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn block(&mut self, cursor: Cursor, name: &str, data: &[u8]) {
        self.out.extend_from_slice(format!("id:{cursor}\n").as_bytes());
        self.event(name);
        self.data(data);
    }

    fn event(&mut self, name: &str) {
        self.out.extend_from_slice(b"event:");
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'\n');
    }

    fn data(&mut self, data: &[u8]) {
        self.out.extend_from_slice(b"data:");
        self.out.extend_from_slice(data);
        self.out.push(b'\n');
        if std::mem::take(&mut self.first) {
            self.out.extend_from_slice(&retry());
        }
        self.out.push(b'\n');
    }
}

fn push_decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Makes a `retry` line with a random delay. Without a blank line it is no block, so it only sets
/// when the client reconnects.
pub fn retry() -> Vec<u8> {
    format!("retry:{}\n", rand::rng().random_range(RETRY_MILLIS)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::push_decimal;

    #[test]
    fn decimal_numbers_match_their_display() {
        for number in [0, 1, 9, 10, 99, 100, 12_345, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = b"-".to_vec();
            push_decimal(&mut out, number);
            assert_eq!(out, format!("-{number}").as_bytes());
        }
    }
}

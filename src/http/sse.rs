//! Server-sent events (WHATWG HTML, section 9.2): blocks as bytes.
//!
//! A block is `id`, `event`, `data` in that order, without a space after the colon; real clients
//! force each of these. Records hold no line break, for their JSON is compact.

use std::fmt::Write as _;

use rand::Rng as _;

use crate::record::{Cursor, Record};
use crate::subscription::{Encoding, Mark};

/// The heartbeat is one line, not a block: a blank line would reach some pages as an empty message.
pub(super) const HEARTBEAT: &[u8] = b":\n";

/// Reconnections are spread over this many milliseconds.
const RETRY_MILLIS: std::ops::RangeInclusive<u32> = 1_000..=5_000;

/// How records are named on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dispatch {
    /// As default `message` events.
    Message,
    /// Each by its event's name.
    Named,
}

impl Dispatch {
    /// Under what a batch keeps its blocks.
    pub fn encoding(self) -> Encoding {
        match self {
            Self::Message => Encoding::Message,
            Self::Named => Encoding::Named,
        }
    }
}

/// Blocks on their way to one client, or to all of a view.
#[derive(Debug)]
pub(super) struct Encoder {
    dispatch: Dispatch,
    out: Vec<u8>,
    /// Whether the first block, which carries `retry`, is still to come.
    first: bool,
}

impl Encoder {
    pub fn new(dispatch: Dispatch) -> Self {
        Self { dispatch, out: Vec::new(), first: true }
    }

    /// For blocks that any client of a view may get, except as its first.
    pub fn of_view(dispatch: Dispatch) -> Self {
        Self { dispatch, out: Vec::new(), first: false }
    }

    /// Whether the first block is still to come.
    pub fn is_first(&self) -> bool {
        self.first
    }

    pub fn dispatch(&self) -> Dispatch {
        self.dispatch
    }

    pub fn record(&mut self, cursor: Cursor, record: &Record) {
        let name = match self.dispatch {
            Dispatch::Message => None,
            Dispatch::Named => Some(record.event().as_str()),
        };
        self.block(cursor, name, record.json());
    }

    pub fn mark(&mut self, cursor: Cursor, mark: Mark) {
        match mark {
            Mark::Reset => {
                let data = format!("{{\"cursor\":\"{cursor}\"}}");
                self.block(cursor, Some("broker:reset"), data.as_bytes());
            }
            Mark::Synced { events } => {
                let data = format!("{{\"cursor\":\"{cursor}\",\"events\":{events}}}");
                self.block(cursor, Some("broker:synced"), data.as_bytes());
            }
        }
    }

    /// What has been encoded since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn block(&mut self, cursor: Cursor, name: Option<&str>, data: &[u8]) {
        // Beside the data: a cursor of up to 54 bytes, a name of up to 255, fields and retry.
        self.out.reserve(data.len() + name.map_or(0, str::len) + 96);
        let mut head = String::with_capacity(64);
        writeln!(head, "id:{cursor}").expect("a string takes all text");
        if let Some(name) = name {
            writeln!(head, "event:{name}").expect("a string takes all text");
        }
        self.out.extend_from_slice(head.as_bytes());
        self.out.extend_from_slice(b"data:");
        self.out.extend_from_slice(data);
        self.out.push(b'\n');
        if std::mem::take(&mut self.first) {
            self.out.extend_from_slice(&retry());
        }
        self.out.push(b'\n');
    }
}

/// A jittered `retry` line, alone no block: it only says when to come back.
pub(super) fn retry() -> Vec<u8> {
    format!("retry:{}\n", rand::rng().random_range(RETRY_MILLIS)).into_bytes()
}

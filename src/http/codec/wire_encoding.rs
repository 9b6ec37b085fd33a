//! The encodings of a batch that clients share.

use crate::subscription::EncodingKey;

/// How a batch of records is written to the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireEncoding {
    /// Server-sent events with the default name.
    Message,
    /// Server-sent events, each with its event's name.
    Named,
    /// Messages of a socket: the data alone.
    SocketBare,
    /// Messages of a socket: objects with a cursor.
    SocketMessages,
    /// Messages of a socket: whole records.
    SocketRecords,
}

impl EncodingKey for WireEncoding {
    const COUNT: usize = Self::SocketRecords as usize + 1;

    fn slot(self) -> usize {
        self as usize
    }
}

//! Records that are delivered together, and their encodings.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::record::Record;

/// Records that are delivered together, ascending by seq.
///
/// Subscribers of one group at one position get the same batch: a clone is a reference count.
#[derive(Clone, Debug, Default)]
pub struct Batch(Arc<BatchShared>);

#[derive(Debug, Default)]
struct BatchShared {
    records: Vec<Arc<Record>>,
    encoded: [OnceLock<Bytes>; ENCODINGS],
}

/// Ways in which a batch is written. Each is made once, for whoever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As server-sent events of the default name.
    Message,
    /// As server-sent events, each by its event's name.
    Named,
    /// As messages of a socket: the data alone.
    SocketBare,
    /// As messages of a socket: objects with a cursor.
    SocketMessages,
    /// As messages of a socket: records.
    SocketRecords,
}

const ENCODINGS: usize = 5;

impl Batch {
    /// What the batch looks like on the wire, for all subscribers of one view: a cursor is the
    /// view's. Kept for the others, if there are any.
    pub fn encoded(
        &self,
        encoding: Encoding,
        encode: impl FnOnce(&[Arc<Record>]) -> Bytes,
    ) -> Bytes {
        if Arc::strong_count(&self.0) == 1 {
            return encode(&self.0.records);
        }
        let made = self.0.encoded[encoding as usize].get_or_init(|| encode(&self.0.records));
        made.clone()
    }
}

impl From<Vec<Arc<Record>>> for Batch {
    fn from(records: Vec<Arc<Record>>) -> Self {
        Self(Arc::new(BatchShared { records, encoded: [const { OnceLock::new() }; ENCODINGS] }))
    }
}

impl Deref for Batch {
    type Target = [Arc<Record>];

    fn deref(&self) -> &Self::Target {
        &self.0.records
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a Arc<Record>;
    type IntoIter = std::slice::Iter<'a, Arc<Record>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.records.iter()
    }
}

impl IntoIterator for Batch {
    type Item = Arc<Record>;
    type IntoIter = std::vec::IntoIter<Arc<Record>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.records.clone().into_iter()
    }
}

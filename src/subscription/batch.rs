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
    /// By [`EncodingKey::slot`].
    encoded: [OnceLock<Bytes>; ENCODINGS_MAX],
}

/// Distinguishes the encodings of a batch: an enum that the encoder defines. All encoders of a
/// batch must use the same one.
pub trait EncodingKey: Copy {
    /// Number of keys.
    const COUNT: usize;

    /// The number of this key, from 0.
    fn slot(self) -> usize;
}

/// Encodings that a batch can keep; each costs it 40 bytes.
const ENCODINGS_MAX: usize = 5;

impl Batch {
    /// The batch as `encode` writes it. The first subscriber with a key encodes the batch; the
    /// others that share it get the same bytes. `encode` may therefore use the group's cursor, but
    /// nothing of a single subscriber.
    pub fn encoded<K: EncodingKey>(
        &self,
        key: K,
        encode: impl FnOnce(&[Arc<Record>]) -> Bytes,
    ) -> Bytes {
        const { assert!(K::COUNT <= ENCODINGS_MAX, "raise ENCODINGS_MAX") };
        if Arc::strong_count(&self.0) == 1 {
            return encode(&self.0.records);
        }
        self.0.encoded[key.slot()].get_or_init(|| encode(&self.0.records)).clone()
    }
}

impl From<Vec<Arc<Record>>> for Batch {
    fn from(records: Vec<Arc<Record>>) -> Self {
        Self(Arc::new(BatchShared { records, encoded: [const { OnceLock::new() }; ENCODINGS_MAX] }))
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[derive(Clone, Copy)]
    enum TestKey {
        First,
        Second,
    }

    impl EncodingKey for TestKey {
        const COUNT: usize = 2;

        fn slot(self) -> usize {
            self as usize
        }
    }

    #[test]
    fn shared_batch_is_encoded_once_for_each_key() {
        let encoded = Cell::new(0);
        let encode = |text: &'static str| {
            encoded.set(encoded.get() + 1);
            Bytes::from_static(text.as_bytes())
        };
        let batch = Batch::from(Vec::new());
        let clones = [batch.clone(), batch.clone(), batch];
        for batch in &clones {
            assert_eq!(batch.encoded(TestKey::First, |_| encode("first")), "first");
            assert_eq!(batch.encoded(TestKey::Second, |_| encode("second")), "second");
        }
        assert_eq!(encoded.get(), 2);
    }

    #[test]
    fn batch_that_is_not_shared_keeps_no_encoding() {
        let batch = Batch::from(Vec::new());
        for text in ["first", "second"] {
            let bytes = batch.encoded(TestKey::First, |_| Bytes::from_static(text.as_bytes()));
            assert_eq!(bytes, text);
        }
    }
}

//! Properties of the stored entries, for the fuzzer and its corpora.

use uuid::Uuid;

use crate::journal::PackedList;
use crate::projection::open::progress_file::ProgressFile;
use crate::projection::store::versions::HistoryHead;
use crate::projection::store::{keys, versions};

/// The input is the length of a key, the key, and the value under it.
pub fn index(bytes: &[u8]) {
    let Some((len, rest)) = bytes.split_first() else { return };
    let Some((key, value)) = rest.split_at_checked(usize::from(*len)) else { return };
    entry(key, value);
    entry(key, &keys::seal(key, value.to_vec()));
    progress_file(value);
    progress_file(&keys::seal(&[], value.to_vec()));
}

/// Decodes a progress file for the store that its own bytes name.
fn progress_file(bytes: &[u8]) {
    let generation =
        bytes.get(8..16).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    let log_id = bytes.get(25..41).and_then(|id| Uuid::from_slice(id).ok());
    let (Some(generation), Some(log_id)) = (generation, log_id) else { return };
    if let Ok(progress_file) = ProgressFile::decode(bytes, generation, log_id) {
        let progress_file = progress_file.expect("it names this store");
        assert_eq!(progress_file.encode(generation, log_id), bytes);
    }
}

fn entry(key: &[u8], value: &[u8]) {
    if let Ok(location) = keys::decode_location(key, value) {
        assert_eq!(keys::location_value(key, &location), *value);
    }
    if let Ok(locations) = versions::decode_block(key, value) {
        let mut list = PackedList::default();
        locations.iter().for_each(|location| list.push(location));
        assert_eq!(keys::seal(key, list.into_bytes()), value);
    }
    if let Ok(head) = HistoryHead::decode(key, value) {
        // A time past the year 9999 is stored as the last of that year.
        let again = head.encode(key);
        assert_eq!(again.len(), value.len());
        assert_eq!(HistoryHead::decode(key, &again).ok(), Some(head));
    }
    if let Ok(identity) = keys::identity(key) {
        assert_eq!(keys::name_key(&identity), key);
    }
}

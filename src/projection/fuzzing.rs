//! Properties of what the index stores, for the fuzzer and its corpora.

use uuid::Uuid;

use crate::journal::PackedList;
use crate::projection::open::progress_file::ProgressFile;
use crate::projection::store::versions::HistoryHead;
use crate::projection::store::{keys, versions};

/// A key, its length before it, and the value under it.
pub fn index(bytes: &[u8]) {
    let Some((len, rest)) = bytes.split_first() else { return };
    let Some((key, value)) = rest.split_at_checked(usize::from(*len)) else { return };
    entry(key, value);
    entry(key, &keys::seal(key, value.to_vec()));
    progress_file(value);
    progress_file(&keys::seal(&[], value.to_vec()));
}

/// Of whichever store it says.
fn progress_file(bytes: &[u8]) {
    let generation = bytes.get(8..16).and_then(|of| of.try_into().ok()).map(u64::from_be_bytes);
    let log_id = bytes.get(25..41).and_then(|id| Uuid::from_slice(id).ok());
    let (Some(generation), Some(log_id)) = (generation, log_id) else { return };
    if let Ok(progress_file) = ProgressFile::decode(bytes, generation, log_id) {
        let progress_file = progress_file.expect("it is of this store");
        assert_eq!(progress_file.encode(generation, log_id), bytes);
    }
}

fn entry(key: &[u8], value: &[u8]) {
    if let Ok(place) = keys::place(key, value) {
        assert_eq!(keys::place_value(key, &place), *value);
    }
    if let Ok(places) = versions::block(key, value) {
        let mut run = PackedList::default();
        places.iter().for_each(|place| run.push(place));
        assert_eq!(keys::seal(key, run.into_bytes()), value);
    }
    if let Ok(line) = HistoryHead::decode(key, value) {
        // A time past the year 9999 is held at its end.
        let again = line.encode(key);
        assert_eq!(again.len(), value.len());
        assert_eq!(HistoryHead::decode(key, &again).ok(), Some(line));
    }
    if let Ok(identity) = keys::identity(key) {
        assert_eq!(keys::name_key(&identity), key);
    }
}

//! Properties of what the index stores, for the fuzzer and its corpora.

use super::keys::{self, Pointer, Slot};

/// A key, its length before it, and the value under it.
pub fn index(bytes: &[u8]) {
    let Some((len, rest)) = bytes.split_first() else { return };
    let Some((key, value)) = rest.split_at_checked(usize::from(*len)) else { return };
    entry(key, value);
    entry(key, &keys::seal(key, value.to_vec()));
}

fn entry(key: &[u8], value: &[u8]) {
    if let Ok(place) = keys::place(key, value) {
        assert_eq!(keys::place_value(key, &place), *value);
    }
    if let Ok(pointer) = Pointer::decode(key, value) {
        // A time past the year 9999 is held at its end.
        let again = Pointer::decode(key, &pointer.encode(key));
        assert_eq!(again.ok(), Some(pointer));
    }
    if let Ok(slot) = Slot::of_key(key) {
        assert_eq!(slot.key(), *key);
    }
    if let Ok(identity) = keys::identity(key) {
        assert_eq!(keys::name_key(&identity), key);
    }
}

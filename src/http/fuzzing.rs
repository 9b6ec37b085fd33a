//! What must hold of every text and every byte that a client of a socket sends.

use serde_json::value::RawValue;

use super::insert;
use super::message::{self, Wish};
use crate::config::Config;
use crate::record::FilterSet;

pub use super::socket::fuzzing::socket;

/// A message of `/ws`: its `ref` is its own, its topics are filters, and its insert is what
/// `POST /insert` would have made of the same bytes.
pub fn message(bytes: &[u8]) {
    let config = Config::default();
    if let Ok(text) = std::str::from_utf8(bytes) {
        let (wish, reference) = message::parse(text, &config);
        if let Some(reference) = reference {
            assert!(text.contains(reference.json()), "it is sent back as it came");
            // A number of any size: whoever reads it says what it can hold.
            let value: &RawValue = serde_json::from_str(reference.json()).expect("it is JSON");
            assert!(
                value.get().starts_with(['"', '-'])
                    || value.get().starts_with(|first: char| first.is_ascii_digit())
            );
        }
        if let Ok(Wish::Topics(filters)) = wish {
            let again = FilterSet::parse(filters.canonical(), config.max_filters.get());
            assert_eq!(again.as_ref(), Ok(&filters), "what is canonical stays so");
        }
    }
    as_insert(bytes, &config);
}

/// The same bytes as the insert of a message.
fn as_insert(bytes: &[u8], config: &Config) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let posted = insert::parse(&bytes::Bytes::copy_from_slice(bytes), config);
    let (wish, _) = message::parse(&format!("{{\"insert\":{text}}}"), config);
    match (posted, wish) {
        (Ok((posted, _)), Ok(Wish::Insert { events, .. })) => {
            assert_eq!(format!("{posted:?}"), format!("{events:?}"));
        }
        (Ok(_), other) => panic!("a POST takes it: {other:?}"),
        (Err(_), Ok(Wish::Insert { events, .. })) => panic!("a POST refuses it: {events:?}"),
        (Err(_), _) => {}
    }
}

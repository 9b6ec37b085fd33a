//! Every parser of untrusted bytes, as a function that panics if a property is violated.
//!
//! **Owns** the properties: decoded values encode to the same bytes, compacting is idempotent and
//! keeps the meaning to another parser, errors lie within the text. Where a checksum guards a
//! parser, the bytes are tried as they are and again with a valid checksum, so that the code behind
//! it is reached.
//!
//! **Does not** exist in other builds than tests and the fuzzer (`cfg(fuzzing)`). `fuzz/` has a
//! target for each, run by `cargo fuzz`; a test replays their corpora on stable, see
//! `fuzz/README.md`.

pub(crate) mod records;

#[cfg(test)]
mod tests;

pub use crate::cli::fuzzing::export;
pub use crate::http::fuzzing::{connection, headers, message, path, query, relay, socket};
pub use crate::journal::fuzzing::{
    frame, header, identity, location, segment, snapshot, watermark,
};
pub use crate::projection::fuzzing::index;
pub use crate::subscription::epochs::fuzz as epoch;
pub use records::{consumer, cursor, filter, json, leaf, name, record, timestamp};

/// A target: its name in `fuzz/`, and the function that checks bytes.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// All targets, by name.
pub const TARGETS: [FuzzTarget; 25] = [
    ("connection", connection),
    ("consumer", consumer),
    ("cursor", cursor),
    ("epoch", epoch),
    ("export", export),
    ("filter", filter),
    ("frame", frame),
    ("header", header),
    ("headers", headers),
    ("identity", identity),
    ("index", index),
    ("json", json),
    ("leaf", leaf),
    ("location", location),
    ("message", message),
    ("name", name),
    ("path", path),
    ("query", query),
    ("record", record),
    ("relay", relay),
    ("segment", segment),
    ("snapshot", snapshot),
    ("socket", socket),
    ("timestamp", timestamp),
    ("watermark", watermark),
];

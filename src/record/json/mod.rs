//! Checks the JSON that clients send and keeps it byte for byte.
//!
//! **Owns** the one strict JSON scanner: it returns the input without insignificant whitespace, or
//! the exact position and reason of a refusal.
//!
//! **Promises** that [`compact`] returns one JSON text of RFC 8259 in UTF-8, no deeper than the
//! limit, without duplicate keys and lone surrogates (I-JSON, RFC 7493 sections 2.1 and 2.3), and
//! without whitespace outside of strings: a CR between two tokens would end a line of an event
//! stream. Numbers, escapes and key order are the client's, because the same bytes are hashed,
//! stored and sent; parsing and writing them again would turn `0.1000000000000000055` into `0.1`.
//! It reads each byte a bounded number of times whatever the input, never recurses, and never
//! panics.
//!
//! **Does not** build a value, check the size or precision of numbers, normalise strings, refuse
//! noncharacters such as U+FFFF, or limit the length, which readers of bodies do.

mod error;
mod scanner;
mod string;

use std::borrow::Cow;

pub use error::{Expected, JsonError, JsonErrorKind, NumberFault};
pub use scanner::JsonLimits;

use crate::record::json::scanner::Scanner;

/// Checks one JSON text and removes its insignificant whitespace. Every other byte is untouched,
/// and a text without such whitespace is not copied.
///
/// The checks are those of RFC 8259, read strictly, and of RFC 7493 (I-JSON) for duplicate keys
/// and surrogates. Keys are compared after unescaping, so `"a"` and `"\u0061"` are the same key.
/// A byte order mark is refused (RFC 8259 section 8.1).
///
/// # Errors
///
/// The first fault, with its position in `input`. Text that is not UTF-8 is reported before
/// anything else.
pub fn compact(input: &[u8], limits: JsonLimits) -> Result<Cow<'_, [u8]>, JsonError> {
    Scanner::scan(input, limits).map_err(|fault| JsonError::at(input, fault.offset, *fault.kind))
}

#[cfg(test)]
mod tests;

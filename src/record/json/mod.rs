//! The JSON that clients send, checked and kept byte for byte.
//!
//! **Owns** the one strict JSON scanner: bytes in, the same bytes less insignificant whitespace
//! out, or the exact place and reason of the refusal.
//!
//! **Promises** that what [`compact`] returns is one JSON text of RFC 8259 in UTF-8, no deeper
//! than the limit, without duplicate keys and without lone surrogates (I-JSON, RFC 7493 sections
//! 2.1 and 2.3), and that outside of strings it holds no whitespace: a CR between two tokens would
//! end a line of an event stream. Numbers, escapes and key order are the client's, because the
//! same bytes are hashed, stored and sent; parsing and writing them again would make
//! `0.1000000000000000055` into `0.1`. It reads each byte a bounded number of times whatever the
//! input, never recurses, and never panics.
//!
//! **Does not** build a value, judge the size or precision of numbers, normalise strings, refuse
//! noncharacters such as U+FFFF, or limit the length: whoever reads the body does that.

use std::borrow::Cow;

mod error;
mod scanner;
mod string;

pub use error::{Expected, JsonError, JsonErrorKind, NumberFault};

#[cfg(test)]
mod tests;

use crate::record::json::scanner::Scanner;

/// What a JSON text may ask of us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JsonLimits {
    /// The deepest nesting of arrays and objects that is accepted; a scalar has depth 0, `[]` 1.
    ///
    /// The scanner does not need it, but readers that recurse do: a client of ours that parses
    /// `[[[[…` overflows its stack.
    pub depth_max: usize,
}

/// Checks one JSON text and removes its insignificant whitespace; every other byte is untouched, and
/// a text that holds none is answered as it is.
///
/// The checks are those of RFC 8259, read strictly, and of RFC 7493 (I-JSON) for duplicate keys
/// and surrogates. Keys are compared after unescaping, so `"a"` and `"\u0061"` are the same key.
/// A byte order mark is refused (RFC 8259 section 8.1).
///
/// # Errors
///
/// The first thing that is wrong, with its place in `input`. Text that is not UTF-8 is reported
/// before anything else.
pub fn compact(input: &[u8], limits: JsonLimits) -> Result<Cow<'_, [u8]>, JsonError> {
    Scanner::scan(input, limits).map_err(|fault| JsonError::at(input, fault.offset, *fault.kind))
}

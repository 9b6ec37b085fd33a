//! The cursor: a subscriber's position, as the id of an SSE block.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::record::identity::Seq;

/// Random number drawn at every open of a log; 16 hexadecimal digits on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// Digest of a subscription's filters and user; 16 hexadecimal digits on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View(pub u64);

/// `<epoch>-<seq>-<view>`: opaque to clients, valid only for the log and the view that issued it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The open of the log that issued it.
    pub epoch: Epoch,
    /// Everything visible up to here was delivered or superseded.
    pub seq: Seq,
    /// The view that it was issued for.
    pub view: View,
}

/// A text that is not a cursor.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a cursor that Broker issued")]
pub struct CursorError;

impl fmt::Display for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl fmt::Display for View {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}-{}", self.epoch, self.seq, self.view)
    }
}

impl FromStr for Epoch {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        hex(text).map(Self)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let mut fields = text.split('-');
        let (Some(epoch), Some(seq), Some(view), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(CursorError);
        };
        Ok(Self { epoch: Epoch(hex(epoch)?), seq: decimal(seq)?, view: View(hex(view)?) })
    }
}

/// Parses exactly what `Display` prints: 16 lower-case digits.
fn hex(text: &str) -> Result<u64, CursorError> {
    let exact = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !exact {
        return Err(CursorError);
    }
    u64::from_str_radix(text, 16).map_err(|_| CursorError)
}

fn decimal(text: &str) -> Result<u64, CursorError> {
    let exact = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if !exact {
        return Err(CursorError);
    }
    text.parse().map_err(|_| CursorError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cursor_round_trips(epoch: u64, seq: u64, view: u64) {
            let cursor = Cursor { epoch: Epoch(epoch), seq, view: View(view) };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn parsed_cursor_prints_the_same_text(text in "\\PC{0,60}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }

    #[test]
    fn invalid_cursors_are_refused() {
        for text in [
            "",
            "-",
            "a-1-b",
            "0000000000000001-01-0000000000000002",
            "1-1-1-1",
            "0000000000000001-+1-0000000000000002",
            "000000000000000A-1-0000000000000002",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
    }
}

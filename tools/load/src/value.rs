//! The published values: JSON with a stamp that a reader finds without parsing anything.
//!
//! A stamp is `~~`, the sender's monotonic clock in 16 hexadecimal digits, and the value's number
//! in 8. No protocol that is measured here contains `~~` itself (a WebSocket's length is below
//! 0x7e00), or interrupts a value.

use std::fmt::Write as _;

use broker_tools::Result;
use rustix::time::{ClockId, clock_gettime};

/// Length of a value.
const BYTES: usize = 200;
/// Length of a stamp.
pub const STAMP_BYTES: usize = 26;

const STAMP_BYTE: u8 = b'~';

/// The stamp of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When it was sent, in nanoseconds of this machine's monotonic clock.
    pub at: u64,
    /// Its number, which is unique in a run.
    pub number: u32,
}

/// The monotonic clock, in nanoseconds.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A value with a stamp, 200 bytes long.
pub fn value(stamp: Stamp) -> String {
    const ENDS: usize = r#"{"at":"","text":""}"#.len();
    let Stamp { at, number } = stamp;
    let mut value = String::with_capacity(BYTES);
    write!(value, "{{\"at\":\"~~{at:016x}{number:08x}\",\"text\":\"").expect("writing to a string");
    // Varied enough that it is not a run of equal letters.
    let letters = (0..BYTES - ENDS - STAMP_BYTES).map(|i| b'a' + (i * 7 % 26) as u8);
    value.extend(letters.map(char::from));
    value.push_str("\"}");
    value
}

/// Calls `each` with every complete stamp. Returns the offset of the first incomplete one, or the
/// length.
pub fn stamps(bytes: &[u8], mut each: impl FnMut(Stamp)) -> Result<usize> {
    let mut from = 0;
    while let Some(found) = memchr::memchr(STAMP_BYTE, &bytes[from..]) {
        let at = from + found;
        if bytes.get(at + 1).is_some_and(|next| *next != STAMP_BYTE) {
            from = at + 1;
            continue;
        }
        let Some(digits) = bytes.get(at + 2..at + STAMP_BYTES) else { return Ok(at) };
        let digits = std::str::from_utf8(digits)?;
        let number = |range| u64::from_str_radix(&digits[range], 16);
        each(Stamp { at: number(0..16)?, number: number(16..24)? as u32 });
        from = at + STAMP_BYTES;
    }
    Ok(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_has_its_length_and_its_stamp_is_found_when_split_anywhere() {
        let sent = Stamp { at: 0x0123_4567_89ab_cdef, number: 0x0700_0001 };
        let value = value(sent);
        assert_eq!(value.len(), BYTES);
        let bytes = format!("data:{value}\n\n~\u{1}data:{value}\n\n").into_bytes();
        for cut in 0..bytes.len() {
            let mut found = Vec::new();
            let kept = stamps(&bytes[..cut], |stamp| found.push(stamp)).expect("valid stamps");
            let kept = stamps(&bytes[kept..], |stamp| found.push(stamp)).map(|end| kept + end);
            assert_eq!((found, kept.ok()), (vec![sent; 2], Some(bytes.len())), "cut at {cut}");
        }
    }

    #[test]
    fn stamp_interrupted_by_other_bytes_is_an_error() {
        let value = value(Stamp { at: 1, number: 2 }).replacen("00", "\r\n", 1);
        assert!(stamps(value.as_bytes(), |_| ()).is_err());
    }
}

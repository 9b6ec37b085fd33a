//! The identity file: identifies a data directory and its log.
//!
//! It is four lines of ASCII, each ending with a line feed, so that a person can read it:
//!
//! ```text
//! bytes  line
//!    22  broker data directory
//!     9  format 0
//!    41  log <id: UUID, 36 characters, lower case>
//!    16  crc32c <CRC-32C of all bytes before this line, 8 hexadecimal digits, lower case>
//! ```
//!
//! Every format begins with the first two of these lines and ends with the fourth, 16 bytes, so
//! that a version of Broker can distinguish a format newer than its own from damage.

use uuid::Uuid;

/// The first line.
const TITLE: &str = "broker data directory\n";

/// Length of the last line: `crc32c`, a space, eight digits and a line feed.
const CRC_LINE_BYTES: usize = 16;

const FORMAT: u32 = 0;

/// Why this version cannot use an identity file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// It is damaged; the text says how.
    Damaged(&'static str),
    /// It is intact, but of this format, which this version does not know.
    Newer(u32),
}

/// Encodes the identity file of a log.
#[must_use]
pub fn encode(log: Uuid) -> String {
    let body = format!("{TITLE}format {FORMAT}\nlog {log}\n");
    let crc = crc32c::crc32c(body.as_bytes());
    format!("{body}crc32c {crc:08x}\n")
}

/// Decodes an identity file to the log's id.
pub fn decode(bytes: &[u8]) -> Result<Uuid, IdentityError> {
    use IdentityError::Damaged;
    let text = std::str::from_utf8(bytes).map_err(|_| Damaged("it is not text"))?;
    let body = text
        .len()
        .checked_sub(CRC_LINE_BYTES)
        .and_then(|end| text.split_at_checked(end))
        .filter(|(body, _)| body.starts_with(TITLE));
    let Some((body, crc)) = body else {
        return Err(Damaged("it does not begin and end like an identity file"));
    };
    if crc != format!("crc32c {:08x}\n", crc32c::crc32c(body.as_bytes())) {
        return Err(Damaged("its checksum does not match"));
    }
    let mut lines = body[TITLE.len()..].lines();
    let format = lines.next().and_then(|line| line.strip_prefix("format "));
    let format = format.and_then(|digits| digits.parse().ok());
    match format.ok_or(Damaged("it states no format"))? {
        FORMAT => {}
        newer => return Err(IdentityError::Newer(newer)),
    }
    let log = lines.next().and_then(|line| line.strip_prefix("log "));
    let log = log.and_then(|id| Uuid::try_parse(id).ok()).ok_or(Damaged("it states no log"))?;
    // An identity has exactly one encoding, so the file may hold nothing else.
    if encode(log) == text { Ok(log) } else { Err(Damaged("it holds more than an identity")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn identity_round_trips(id: u128) {
            let log = Uuid::from_u128(id);
            prop_assert_eq!(decode(encode(log).as_bytes()), Ok(log));
        }

        #[test]
        fn arbitrary_bytes_are_rejected_without_panic(bytes: Vec<u8>) {
            prop_assert!(decode(&bytes).is_err());
        }
    }

    #[test]
    fn the_file_is_as_drawn() {
        let text = encode(Uuid::from_u128(0x0198_c0de_7a31_7cc2_9f0e_1d2f_3a4b_5c6d));
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        assert_eq!(lines[0], "broker data directory\n");
        assert_eq!(lines[1], "format 0\n");
        assert_eq!(lines[2], "log 0198c0de-7a31-7cc2-9f0e-1d2f3a4b5c6d\n");
        assert_eq!(lines.iter().map(|line| line.len()).collect::<Vec<_>>(), [22, 9, 41, 16]);
    }

    #[test]
    fn every_bit_flip_and_truncation_is_detected() {
        let whole = encode(Uuid::from_u128(7)).into_bytes();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(&bytes), Err(IdentityError::Damaged(_))), "bit {bit}");
        }
        for len in 0..whole.len() {
            assert!(matches!(decode(&whole[..len]), Err(IdentityError::Damaged(_))), "cut {len}");
        }
    }

    #[test]
    fn newer_format_is_not_reported_as_damage() {
        let body = format!("{TITLE}format 7\nanything else\n");
        let text = format!("{body}crc32c {:08x}\n", crc32c::crc32c(body.as_bytes()));
        assert_eq!(decode(text.as_bytes()), Err(IdentityError::Newer(7)));
    }
}

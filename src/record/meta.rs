//! Meta: the identifying members of a record, whose encoding is hashed into its leaf.
//!
//! ```text
//! bytes       field
//! 1 + n       event: length n (1 to 255), then UTF-8
//! 8           version, big-endian
//! 16          id, as in RFC 9562
//! 1 + n       author: length n (0 when absent), then UTF-8
//! 1 + n       to: length n (0 when absent), then UTF-8
//! ```
//!
//! Every meta has exactly one encoding and nothing may follow it, so equal metas have equal
//! commitments.

use thiserror::Error;
use uuid::Uuid;

/// The identifying members of a record, borrowed from its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta<'a> {
    /// Event name, 1 to 255 bytes.
    pub event: &'a str,
    /// Version within (event, to), from 1.
    pub version: u64,
    /// Identity of the insert.
    pub id: Uuid,
    /// Authenticated subject, absent when anonymous.
    pub author: Option<&'a str>,
    /// User that the record is private to, absent when it is public.
    pub to: Option<&'a str>,
}

/// Maximum length of an encoded meta in bytes: three strings of 255 with their lengths, version,
/// id.
pub const META_BYTES_MAX: usize = 3 * 256 + 8 + 16;

/// Why bytes are not a meta.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum MetaError {
    /// The event's length is zero.
    #[error("the meta has no event")]
    NoEvent,
    /// The bytes end before the meta does.
    #[error("the meta is cut short")]
    Short,
    /// Bytes follow the meta.
    #[error("{0} bytes follow the meta")]
    Trailing(usize),
    /// A string is not UTF-8.
    #[error("a string of the meta is not UTF-8")]
    Utf8,
}

impl<'a> Meta<'a> {
    /// Appends the encoding to `out`.
    ///
    /// # Panics
    /// When a string is longer than 255 bytes, or present but empty; the constructors of names and
    /// users exclude both.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        assert!(!self.event.is_empty(), "the event is empty");
        push_string(out, self.event);
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(self.id.as_bytes());
        for user in [self.author, self.to] {
            assert!(user != Some(""), "a user is empty");
            push_string(out, user.unwrap_or_default());
        }
    }

    /// Reads a meta that fills `bytes` exactly.
    ///
    /// # Errors
    /// [`MetaError`] when the bytes are not exactly one meta.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MetaError> {
        let (event, rest) = take_string(bytes)?;
        if event.is_empty() {
            return Err(MetaError::NoEvent);
        }
        let (version, rest) = rest.split_first_chunk::<8>().ok_or(MetaError::Short)?;
        let (id, rest) = rest.split_first_chunk::<16>().ok_or(MetaError::Short)?;
        let (author, rest) = take_string(rest)?;
        let (to, rest) = take_string(rest)?;
        if !rest.is_empty() {
            return Err(MetaError::Trailing(rest.len()));
        }
        Ok(Self {
            event,
            version: u64::from_be_bytes(*version),
            id: Uuid::from_bytes(*id),
            author: Some(author).filter(|user| !user.is_empty()),
            to: Some(to).filter(|user| !user.is_empty()),
        })
    }
}

fn push_string(out: &mut Vec<u8>, string: &str) {
    let len = u8::try_from(string.len()).expect("names and users are at most 255 bytes");
    out.push(len);
    out.extend_from_slice(string.as_bytes());
}

fn take_string(bytes: &[u8]) -> Result<(&str, &[u8]), MetaError> {
    let (len, rest) = bytes.split_first().ok_or(MetaError::Short)?;
    let (string, rest) = rest.split_at_checked(usize::from(*len)).ok_or(MetaError::Short)?;
    Ok((std::str::from_utf8(string).map_err(|_| MetaError::Utf8)?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn meta_round_trips(
            event in "\\PC{1,60}", version: u64, id: [u8; 16],
            author in proptest::option::of("\\PC{1,60}"), to in proptest::option::of("\\PC{1,60}"),
        ) {
            let meta = Meta {
                event: &event,
                version,
                id: Uuid::from_bytes(id),
                author: author.as_deref(),
                to: to.as_deref(),
            };
            let mut bytes = Vec::new();
            meta.encode_into(&mut bytes);
            prop_assert!(bytes.len() <= META_BYTES_MAX);
            prop_assert_eq!(Meta::decode(&bytes), Ok(meta));
            bytes.push(0);
            prop_assert_eq!(Meta::decode(&bytes), Err(MetaError::Trailing(1)));
        }

        #[test]
        fn decoded_meta_encodes_to_the_same_bytes(bytes: Vec<u8>) {
            if let Ok(meta) = Meta::decode(&bytes) {
                let mut again = Vec::new();
                meta.encode_into(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}

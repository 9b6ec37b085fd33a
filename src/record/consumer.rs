//! Consumers, and the system record that stores the position of one. Its name is
//!
//! ```text
//! broker:consumer.<consumer>.<topic>
//! broker:consumer.<consumer>.broker:<SHA-256 of the topic, hexadecimal>   if that is too long
//! ```
//!
//! A consumer's name has no `.` and a topic never begins with `broker:`, so two consumers never
//! have the same record; the data names both in full.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::record::hex::push_hex;
use crate::record::identity::Version;
use crate::record::name::{NAME_BYTES_MAX, Name, NameError, SYSTEM_PREFIX};
use crate::record::new_event::Data;

/// The prefix of the names of consumers' positions.
const CONSUMER_PREFIX: &str = "broker:consumer.";

/// Maximum length of a consumer's name in bytes of UTF-8: with the prefix (16), `.broker:` (8) and
/// a digest (64) the name of its position still fits into 255.
pub const CONSUMER_BYTES_MAX: usize = 100;

/// A durable reader of one topic.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Consumer {
    topic: Name,
    name: Name,
}

/// Why a text is not a consumer's name, and what to change.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ConsumerError {
    /// It has a dot, which separates the consumer from the topic in the position's name.
    #[error("a consumer's name must not contain `.`; use `-` or `_`")]
    Dot,
    /// It breaks the rules of names.
    #[error(transparent)]
    Name(#[from] NameError),
    /// More than [`CONSUMER_BYTES_MAX`] bytes.
    #[error("the name has {len} bytes; shorten it to at most {CONSUMER_BYTES_MAX}")]
    TooLong {
        /// How many bytes it has.
        len: usize,
    },
}

/// The data of the record that stores a position.
#[derive(Deserialize, Serialize)]
struct Acknowledged<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow)]
    consumer: Cow<'a, str>,
    version: Version,
}

impl Consumer {
    /// Checks a consumer's name that a client sent: a name of one token, of at most 100 bytes.
    ///
    /// # Errors
    /// The first rule that `name` breaks.
    pub fn parse(topic: Name, name: &str) -> Result<Self, ConsumerError> {
        let name = Name::parse(name)?;
        match name.as_str() {
            text if text.contains('.') => Err(ConsumerError::Dot),
            text if text.len() > CONSUMER_BYTES_MAX => {
                Err(ConsumerError::TooLong { len: text.len() })
            }
            _ => Ok(Self { topic, name }),
        }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Name {
        &self.topic
    }

    /// The consumer's own name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The name of the record that stores its position.
    #[must_use]
    pub fn position_name(&self) -> Name {
        let mut suffix = format!("consumer.{}.", self.name);
        if SYSTEM_PREFIX.len() + suffix.len() + self.topic.as_str().len() <= NAME_BYTES_MAX {
            write!(suffix, "{}", self.topic).expect("writing to a string cannot fail");
        } else {
            suffix.push_str(SYSTEM_PREFIX);
            push_hex(&mut suffix, &Sha256::digest(self.topic.as_str()));
        }
        Name::system(&suffix)
    }

    /// The data of a position: everything through `version` is acknowledged.
    #[must_use]
    pub fn acknowledged(&self, version: Version) -> Data {
        let (topic, consumer) = (self.topic.as_str().into(), self.name.as_str().into());
        let data = Acknowledged { topic, consumer, version };
        let data = serde_json::to_vec(&data).expect("names and a number serialise");
        Data::checked(data.into())
    }

    /// Reads the data of a position: the version through which everything is acknowledged.
    ///
    /// # Errors
    /// A sentence, when the data is not a position of this consumer: another version of Broker
    /// wrote it.
    pub fn read(&self, data: &[u8]) -> Result<Version, String> {
        let stored: Acknowledged<'_> =
            serde_json::from_slice(data).map_err(|error| error.to_string())?;
        let is_own = stored.topic == self.topic.as_str() && stored.consumer == self.name.as_str();
        if is_own {
            Ok(stored.version)
        } else {
            Err(format!("it belongs to consumer {:?} of {:?}", stored.consumer, stored.topic))
        }
    }
}

impl Name {
    /// Whether this is the name of a consumer's position.
    #[must_use]
    pub(crate) fn is_consumer(&self) -> bool {
        self.as_str().starts_with(CONSUMER_PREFIX)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn consumer(topic: &str, name: &str) -> Consumer {
        Consumer::parse(Name::parse(topic).unwrap(), name).unwrap()
    }

    fn any_name(pattern: &'static str) -> impl Strategy<Value = Name> {
        pattern.prop_filter_map("a name", |text| Name::parse(&text).ok())
    }

    proptest! {
        #[test]
        fn consumers_have_distinct_position_names_and_read_their_data(
            topics in [any_name("[a-c:.é\u{301}]{1,255}"), any_name("[a-c:.é\u{301}]{1,12}")],
            names in [any_name("[a-c:-é\u{301}]{1,100}"), any_name("[a-c:]{1,2}")],
            version: Version,
        ) {
            let mut seen = HashMap::new();
            for topic in &topics {
                for name in &names {
                    let Ok(one) = Consumer::parse(topic.clone(), name.as_str()) else { continue };
                    let position = one.position_name();
                    prop_assert!(position.is_system() && position.is_consumer());
                    prop_assert_eq!(Name::stored(position.as_str()), Ok(position.clone()));
                    prop_assert_eq!(one.read(one.acknowledged(version).as_bytes()), Ok(version));
                    let before = seen.insert(position, one.clone());
                    prop_assert!(before.is_none_or(|before| before == one));
                }
            }
        }
    }

    #[test]
    fn position_name_holds_a_short_topic_and_the_digest_of_a_long_one() {
        assert_eq!(consumer("a.b", "c").position_name().as_str(), "broker:consumer.c.a.b");
        let fits = "x".repeat(255 - "broker:consumer.c.".len());
        let name = consumer(&fits, "c").position_name();
        assert_eq!((name.as_str().len(), name.as_str().ends_with(&fits)), (255, true));
        for long in [format!("{fits}x"), "x".repeat(255)] {
            let name = consumer(&long, "c").position_name();
            let digest = name.as_str().strip_prefix("broker:consumer.c.broker:").unwrap();
            assert_eq!(digest.len(), 64);
        }
        let longest = consumer(&"x".repeat(255), &"y".repeat(CONSUMER_BYTES_MAX));
        assert!(longest.position_name().as_str().len() <= NAME_BYTES_MAX);
    }

    #[test]
    fn invalid_consumer_names_are_refused() {
        let parse = |name: &str| Consumer::parse(Name::parse("t").unwrap(), name);
        assert_eq!(parse("a.b"), Err(ConsumerError::Dot));
        assert_eq!(parse(&"x".repeat(101)), Err(ConsumerError::TooLong { len: 101 }));
        for name in ["", "a b", "a*", "open", "broker:x"] {
            assert!(matches!(parse(name), Err(ConsumerError::Name(_))), "{name:?}");
        }
    }

    #[test]
    fn data_of_another_consumer_is_refused() {
        let one = consumer("t", "c");
        for data in ["{}", "1", "{\"topic\":\"t\",\"consumer\":\"c\",\"version\":-1}"] {
            assert!(one.read(data.as_bytes()).is_err(), "{data}");
        }
        for other in [consumer("u", "c"), consumer("t", "d")] {
            assert!(one.read(other.acknowledged(1).as_bytes()).is_err());
        }
        let newer = b"{\"topic\":\"t\",\"consumer\":\"c\",\"version\":7,\"more\":1}";
        assert_eq!(one.read(newer), Ok(7));
    }
}

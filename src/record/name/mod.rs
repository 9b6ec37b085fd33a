//! Names of events and users: text from clients that is checked once and trusted from then on.
//!
//! **Owns** [`Name`] and [`User`], their rules, and the messages of a refusal.
//!
//! **Promises** that names which look the same to a person are rarely different to the program:
//! they contain no invisible, reordering or unassigned characters and have one normal form (NFC,
//! UAX #15), so that they can be compared, sorted and hashed as bytes. A name is safe in a path, a
//! header, a log line and a filter. A clone shares its text.
//!
//! **Does not** detect look-alike letters of different scripts (UTS #39), fold case, or know who
//! may use a name.

mod character;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

pub use character::{CharacterError, CharacterFault};

use crate::record::name::character::{TextOrigin, check_characters};

/// Maximum length of a name or user in bytes of UTF-8; AMQP routing keys have the same limit.
pub const NAME_BYTES_MAX: usize = 255;

/// The prefix of the names of system records.
pub(super) const SYSTEM_PREFIX: &str = "broker:";

/// The name of an event: tokens separated by `.`, compared as bytes and case-sensitive.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name(Arc<str>);

impl Name {
    /// Checks a name that a client sent.
    ///
    /// A name is 1 to 255 bytes of NFC UTF-8 without an empty token; [`CharacterFault`] lists the
    /// characters that it must not contain, and why.
    ///
    /// # Errors
    ///
    /// The first rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if is_system(text) {
            return Err(NameError::System);
        }
        check_name(text, TextOrigin::Client)?;
        Ok(Self(text.into()))
    }

    /// Checks a name from the log, of an event or of a system record.
    ///
    /// Rules that depend on the tables of one Unicode version (NFC, format and unassigned
    /// characters) do not apply: the name may have been inserted by a Broker with newer tables, and
    /// a log must not become unreadable to an older program.
    ///
    /// # Errors
    ///
    /// The first rule that `text` breaks: it was never a name, so the log is damaged.
    pub fn stored(text: &str) -> Result<Self, NameError> {
        check_any_name(text, TextOrigin::Log)?;
        Ok(Self(text.into()))
    }

    /// The name `broker:<suffix>` of a system record.
    ///
    /// # Panics
    ///
    /// When `suffix` breaks the rules of names or makes the name too long; callers pass constants
    /// and names that were checked.
    #[must_use]
    pub(crate) fn system(suffix: &str) -> Self {
        let text = format!("{SYSTEM_PREFIX}{suffix}");
        check_any_name(&text, TextOrigin::Client).expect("the suffix follows the rules of names");
        Self(text.into())
    }

    /// Whether this is a system record's name, which no stream shows and no filter matches.
    #[must_use]
    pub fn is_system(&self) -> bool {
        is_system(&self.0)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a name, and what to change.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// A character that names must not contain.
    #[error(transparent)]
    Character(#[from] CharacterError),
    /// An empty text.
    #[error("the name is empty; it needs 1 to {NAME_BYTES_MAX} bytes")]
    Empty,
    /// A token without a character. Some brokers drop it and some keep it, so one name would become
    /// two on the way through a cluster.
    #[error(
        "there is an empty token at position {position}; a name must not start or end with `.` or \
         contain `..`"
    )]
    EmptyToken {
        /// The number of the character where a token should start, from 1.
        position: usize,
    },
    /// `open` or `error`: a page could not distinguish such an event from those that `EventSource`
    /// fires itself when its connection opens or fails.
    #[error("`open` and `error` are events of EventSource itself; choose another name")]
    EventSource,
    /// The prefix of system records: a client could pose as the system.
    #[error(
        "names that begin with `{SYSTEM_PREFIX}` are reserved for the system; choose another name"
    )]
    System,
    /// More than [`NAME_BYTES_MAX`] bytes: names are held in memory and repeated in every record.
    #[error("the name has {len} bytes; shorten it to at most {NAME_BYTES_MAX}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
}

/// A user: the audience of a private record, or the author of one.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct User(Arc<str>);

impl User {
    /// Checks a user that a client or a token sent.
    ///
    /// A user is 1 to 255 bytes of NFC UTF-8; [`CharacterFault`] lists the characters that it must
    /// not contain, and why. Unlike a name it has no tokens, so an e-mail address, a URL or
    /// `auth0|42` can be a user.
    ///
    /// # Errors
    ///
    /// The first rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, UserError> {
        check_user(text, TextOrigin::Client)?;
        Ok(Self(text.into()))
    }

    /// Checks a user from the log. As in [`Name::stored`], rules that depend on the tables of one
    /// Unicode version do not apply.
    ///
    /// # Errors
    ///
    /// The first rule that `text` breaks: it was never a user, so the log is damaged.
    pub fn stored(text: &str) -> Result<Self, UserError> {
        check_user(text, TextOrigin::Log)?;
        Ok(Self(text.into()))
    }

    /// The user as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a user, and what to change.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UserError {
    /// A character that users must not contain.
    #[error(transparent)]
    Character(#[from] CharacterError),
    /// An empty text: some programs would read it as a user and others as none.
    #[error("the user is empty; it needs 1 to {NAME_BYTES_MAX} bytes, or leave it out")]
    Empty,
    /// More than [`NAME_BYTES_MAX`] bytes: users are held in memory and repeated in every record.
    #[error("the user has {len} bytes; shorten it to at most {NAME_BYTES_MAX}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
}

macro_rules! text_traits {
    ($($type:ty),*) => {$(
        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&*self.0, formatter)
            }
        }
    )*};
}

text_traits!(Name, User);

fn is_system(text: &str) -> bool {
    text.starts_with(SYSTEM_PREFIX)
}

/// Checks a name of an event or of a system record.
fn check_any_name(text: &str, origin: TextOrigin) -> Result<(), NameError> {
    let suffix = text.strip_prefix(SYSTEM_PREFIX);
    if suffix.is_some_and(|suffix| suffix.is_empty() || suffix.starts_with('.')) {
        let position = SYSTEM_PREFIX.len() + 1;
        return Err(NameError::EmptyToken { position });
    }
    check_name(text, origin)
}

fn check_name(text: &str, origin: TextOrigin) -> Result<(), NameError> {
    match text.len() {
        0 => return Err(NameError::Empty),
        1..=NAME_BYTES_MAX => {}
        len => return Err(NameError::TooLong { len }),
    }
    if matches!(text, "open" | "error") {
        return Err(NameError::EventSource);
    }
    let mut previous = b'.';
    for (at, byte) in text.bytes().enumerate() {
        if byte == b'.' && previous == b'.' {
            return Err(NameError::EmptyToken { position: text[..at].chars().count() + 1 });
        }
        previous = byte;
    }
    if previous == b'.' {
        return Err(NameError::EmptyToken { position: text.chars().count() + 1 });
    }
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !is_delimiter(char::from(byte));
    if !text.bytes().all(is_plain) {
        check_characters(text, origin, is_delimiter)?;
    }
    Ok(())
}

fn check_user(text: &str, origin: TextOrigin) -> Result<(), UserError> {
    match text.len() {
        0 => return Err(UserError::Empty),
        1..=NAME_BYTES_MAX => {}
        len => return Err(UserError::TooLong { len }),
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        check_characters(text, origin, |_| false)?;
    }
    Ok(())
}

/// Whether a character has a special meaning in filters (`*`, `>`), paths (`/`, `\`) or URLs (`?`,
/// `#`, `%`).
fn is_delimiter(character: char) -> bool {
    matches!(character, '*' | '>' | '/' | '\\' | '?' | '#' | '%')
}

#[cfg(test)]
mod tests;

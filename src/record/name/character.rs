//! Which characters names and users must not hold, and the trouble that each would make.
//!
//! **Owns** the check of single characters and of the normal form.
//!
//! **Promises** to name the first character that is wrong and its place, so that an invisible one
//! can be found.
//!
//! **Does not** know lengths, tokens or reserved names.

use std::fmt;

use unicode_normalization::{UnicodeNormalization as _, is_nfc};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// A character that a name or user must not hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CharacterError {
    /// The character.
    pub character: char,
    /// Which character of the text it is, from 1.
    pub position: usize,
    /// What is wrong with it.
    pub fault: CharacterFault,
}

impl fmt::Display for CharacterError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "U+{:04X} ", u32::from(self.character))?;
        if self.character.is_ascii_graphic() {
            write!(formatter, "(`{}`) ", self.character)?;
        }
        write!(formatter, "at position {} {}", self.position, self.fault)
    }
}

impl std::error::Error for CharacterError {}

/// What is wrong with a character.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CharacterFault {
    /// A `Bidi_Control` (UAX #9): it reorders the text around it, so that a name is shown as
    /// another one in a log, a review or an admin page (CVE-2021-42574, "Trojan Source").
    #[error("changes the direction of the text around it; remove it")]
    Bidi,
    /// `Cc`: a line break forges lines of logs, headers and event streams, an escape drives
    /// terminals, a NUL ends the text for programs in C.
    #[error("is a control character; remove it")]
    Control,
    /// One of `* > / \ ? # %`, in names only: as a wildcard it would match other events, in a path
    /// or a URL it would end the name or begin an escape, so that a request reads another event.
    #[error("means something else in filters, paths or URLs; use another character")]
    Delimiter,
    /// `Cf`, the invisible characters: two names that look the same would be two events.
    #[error("is an invisible format character; remove it")]
    Format,
    /// Not NFC (UAX #15): `é` in one and in two characters look the same and, compared as bytes,
    /// would be two events; file systems and keyboards differ in which they make.
    #[error("is not in normal form; normalise the text to NFC before sending it")]
    NotNormalized,
    /// U+2028 and U+2029: they end a line in JavaScript before ES2019 and in some log viewers.
    #[error("separates lines or paragraphs; remove it")]
    Separator,
    /// `Cn`: a later version of Unicode may give it a normal form or make it invisible, and names
    /// that are in the log cannot be changed then. Noncharacters such as U+FFFF are among them.
    #[error("is not assigned in Unicode {}.{}; use another character", VERSION.0, VERSION.1)]
    Unassigned,
    /// Whitespace: unseen at the ends, alike in its many kinds, and the end of a NATS subject or
    /// a field of a log line.
    #[error("is whitespace; remove it, or use `-` or `_`")]
    Whitespace,
}

const VERSION: (u8, u8, u8) = unicode_normalization::UNICODE_VERSION;

/// Where a text comes from, and so which rules it owes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TextOrigin {
    /// All of them.
    Client,
    /// Those that no later version of Unicode changes.
    Log,
}

/// Finds the first character that is refused; `is_delimiter` adds to what always is.
pub(super) fn check_characters(
    text: &str,
    origin: TextOrigin,
    is_delimiter: impl Fn(char) -> bool,
) -> Result<(), CharacterError> {
    for (index, character) in text.chars().enumerate() {
        let fault = match fault_of(character, origin) {
            None if is_delimiter(character) => CharacterFault::Delimiter,
            None => continue,
            Some(fault) => fault,
        };
        return Err(CharacterError { character, position: index + 1, fault });
    }
    if origin == TextOrigin::Log || is_nfc(text) {
        return Ok(());
    }
    // The first character that its normal form replaces. A text and its normal form of different
    // lengths differ before the shorter one ends, so the fallback is the last resort.
    let mut normal = text.nfc();
    let differs = |(_, character): &(usize, char)| normal.next() != Some(*character);
    let (index, character) = text.chars().enumerate().find(differs).unwrap_or_default();
    Err(CharacterError { character, position: index + 1, fault: CharacterFault::NotNormalized })
}

fn fault_of(character: char, origin: TextOrigin) -> Option<CharacterFault> {
    match character {
        '!'..='~' => None,
        // Bidi_Control, all of them: Unicode adds none without new rules for direction.
        '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
            Some(CharacterFault::Bidi)
        }
        '\u{2028}' | '\u{2029}' => Some(CharacterFault::Separator),
        _ if character.is_control() => Some(CharacterFault::Control),
        _ if character.is_whitespace() => Some(CharacterFault::Whitespace),
        _ if origin == TextOrigin::Log => None,
        _ => match character.general_category() {
            GeneralCategory::Format => Some(CharacterFault::Format),
            GeneralCategory::Unassigned => Some(CharacterFault::Unassigned),
            _ => None,
        },
    }
}

//! The characters that names and users must not contain, and the harm that each would do. An error
//! names the first wrong character and its position, so that an invisible one can be found.

use std::fmt;

use unicode_normalization::{UnicodeNormalization as _, is_nfc};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// A character that a name or user must not contain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CharacterError {
    /// The character.
    pub character: char,
    /// The number of the character in the text, from 1.
    pub position: usize,
    /// Why it is refused.
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

/// Why a character is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CharacterFault {
    /// A `Bidi_Control` (UAX #9): it reorders the text around it, so that a log, a review or an
    /// admin page shows another name (CVE-2021-42574, "Trojan Source").
    #[error("changes the direction of the text around it; remove it")]
    Bidi,
    /// `Cc`: a line break forges lines of logs, headers and event streams, an escape controls
    /// terminals, a NUL ends the text for programs in C.
    #[error("is a control character; remove it")]
    Control,
    /// One of `* > / \ ? # %`, in names only: as a wildcard it would match other events, and in a
    /// path or URL it would end the name or begin an escape, so that a request reads another event.
    #[error("has a special meaning in filters, paths or URLs; use another character")]
    Delimiter,
    /// `Cf`, the invisible characters: two names that look the same would be two events.
    #[error("is an invisible format character; remove it")]
    Format,
    /// Not NFC (UAX #15): `é` in one and in two characters looks the same but differs in bytes, so
    /// it would be two events; file systems and keyboards differ in which form they produce.
    #[error("is not in normal form; normalise the text to NFC before sending it")]
    NotNormalized,
    /// U+2028 and U+2029: they end a line in JavaScript before ES2019 and in some log viewers.
    #[error("separates lines or paragraphs; remove it")]
    Separator,
    /// `Cn`: a later version of Unicode may give it a normal form or make it invisible, when names
    /// in the log can no longer be changed. Includes noncharacters such as U+FFFF.
    #[error("is not assigned in Unicode {}.{}; use another character", VERSION.0, VERSION.1)]
    Unassigned,
    /// Whitespace: invisible at the ends, hard to tell apart, and it ends a NATS subject or a field
    /// of a log line.
    #[error("is whitespace; remove it, or use `-` or `_`")]
    Whitespace,
}

const VERSION: (u8, u8, u8) = unicode_normalization::UNICODE_VERSION;

/// Where a text comes from, which decides the rules that apply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TextOrigin {
    /// All rules apply.
    Client,
    /// Only rules that no later version of Unicode changes apply.
    Log,
}

/// Finds the first refused character; those that `is_delimiter` accepts are refused too.
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
    // The first character that differs from the normal form. If their lengths differ, they differ
    // before the shorter one ends, so the fallback is never needed.
    let mut normal = text.nfc();
    let differs = |(_, character): &(usize, char)| normal.next() != Some(*character);
    let (index, character) = text.chars().enumerate().find(differs).unwrap_or_default();
    Err(CharacterError { character, position: index + 1, fault: CharacterFault::NotNormalized })
}

fn fault_of(character: char, origin: TextOrigin) -> Option<CharacterFault> {
    match character {
        '!'..='~' => None,
        // All of Bidi_Control: Unicode adds none without new rules for direction.
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

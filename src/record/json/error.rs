//! Why a JSON text was refused: a kind for programs, one sentence for people, and the position as
//! editors count it. Messages stay short and on one line whatever was sent: long keys are cut and
//! control characters escaped.

use std::fmt;

/// Why a JSON text was refused, and where.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}, column {column}: {kind}")]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// The line, from 1; lines end at LF.
    pub line: usize,
    /// The character within the line, from 1.
    pub column: usize,
    /// The byte within the input, from 0.
    pub offset: usize,
}

impl JsonError {
    pub(super) fn at(input: &[u8], offset: usize, kind: JsonErrorKind) -> Self {
        let before = &input[..offset];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |lf| lf + 1);
        let line = before.split(|byte| *byte == b'\n').count();
        // In UTF-8 every byte except 10xxxxxx starts a character.
        let is_start = |byte: &&u8| **byte & 0xC0 != 0x80;
        let column = 1 + before[line_start..].iter().filter(is_start).count();
        Self { kind, line, column, offset }
    }
}

/// What is wrong with a JSON text.
///
/// The message says what to change; [`JsonError`] puts the position before it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JsonErrorKind {
    /// A byte order mark at the front. RFC 8259 forbids sending it, and some readers of a stored
    /// one would drop it while others fail.
    #[error("the text starts with a byte order mark (U+FEFF); remove it")]
    ByteOrderMark,
    /// A raw control character in a string: a line break there would end a line of a stream.
    #[error(
        "a string contains the control character U+{:04X}; write it as \\u{:04x}",
        u32::from(*.0),
        u32::from(*.0)
    )]
    ControlCharacter(char),
    /// A key that the same object already has, compared after unescaping. Readers disagree on which
    /// of the two counts, so one can be hidden from a check (RFC 7493 section 2.3).
    #[error("the key {} is in this object twice; keep one of them", QuotedKey(.0))]
    DuplicateKey(String),
    /// No text, or only whitespace.
    #[error("there is no JSON value; send one, null if necessary")]
    Empty,
    /// A backslash before a character that cannot be escaped; absent at the end of the text.
    #[error(
        "a backslash before {} escapes nothing; write \\\\ for a backslash itself",
        FoundCharacter(*.0)
    )]
    InvalidEscape(Option<char>),
    /// A number that breaks the grammar.
    #[error("{0}")]
    InvalidNumber(NumberFault),
    /// A `\u` without four hexadecimal digits.
    #[error("\\u needs four hexadecimal digits after it, as in \\u00e9")]
    InvalidUnicodeEscape,
    /// Bytes that are not UTF-8. Readers repair them differently, so two texts may become one.
    #[error("the bytes from here on are not UTF-8; encode the text as UTF-8")]
    InvalidUtf8,
    /// An escaped surrogate without its other half. It is not a character and no UTF-8 string can
    /// contain it, so readers drop it, replace it or fail (RFC 7493 section 2.1).
    #[error(
        "\\u{:04x} is one half of a surrogate pair; send both halves, or the character itself",
        .0
    )]
    LoneSurrogate(u16),
    /// Arrays and objects nested beyond the limit.
    #[error("arrays and objects are nested more than {depth_max} deep; flatten the value")]
    TooDeep {
        /// The limit that was exceeded.
        depth_max: usize,
    },
    /// A comma before the end of an array or object.
    #[error("nothing follows this comma; remove it")]
    TrailingComma,
    /// A character that the grammar does not allow here.
    #[error("expected {expected}, found {}{}", FoundCharacter(*.found), hint(*.expected, *.found))]
    Unexpected {
        /// What the grammar allows.
        expected: Expected,
        /// The character that was found; absent at the end of the text.
        found: Option<char>,
    },
    /// A word other than the three literals, cut if long.
    #[error("`{0}` is not JSON; use true, false, null, or a string in double quotes")]
    UnknownWord(String),
    /// A string without an end; the position is that of its opening quote.
    #[error("the string that starts here is not closed; add the closing double quote")]
    UnterminatedString,
}

/// What the grammar allows at a position.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Expected {
    /// The colon after a key.
    #[error("`:` after the key")]
    Colon,
    /// The next element, or the end of the array.
    #[error("`,` or `]`")]
    CommaOrEndOfArray,
    /// The next member, or the end of the object.
    #[error("`,` or `}}`")]
    CommaOrEndOfObject,
    /// Nothing: the one value is complete.
    #[error("nothing after the value")]
    End,
    /// The key after a comma.
    #[error("a key in double quotes")]
    Key,
    /// The first key of an object, or its end.
    #[error("a key in double quotes or `}}`")]
    KeyOrEnd,
    /// Any value.
    #[error("a value")]
    Value,
}

/// How a number breaks the grammar of RFC 8259 section 6.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NumberFault {
    /// `+1`.
    #[error("a number does not start with `+`; remove it")]
    LeadingPlus,
    /// `01`, which some readers parse as octal.
    #[error("a number does not start with extra zeros; remove them, or send a string")]
    LeadingZero,
    /// `1e`.
    #[error("the exponent of the number has no digit; add one, or remove the `e`")]
    NoExponentDigit,
    /// `1.`.
    #[error("the number has no digit after its decimal point; add one, or remove the point")]
    NoFractionDigit,
    /// `-` or `.5`.
    #[error("the number has no digit before its fraction; write it as in -0.5")]
    NoIntegerDigit,
}

/// A likely cause of the unexpected character, and its correction.
fn hint(expected: Expected, found: Option<char>) -> &'static str {
    match (expected, found) {
        (_, None) => "; the text is cut short",
        (_, Some('\'')) => "; put strings and keys in double quotes",
        (_, Some('/' | '#')) => "; JSON has no comments",
        (Expected::End, _) => "; send one value, or an array of them",
        (Expected::Value, Some(',')) => "; remove the extra comma, or write null",
        (Expected::CommaOrEndOfArray | Expected::CommaOrEndOfObject, Some(':' | ';')) => "",
        (Expected::CommaOrEndOfArray | Expected::CommaOrEndOfObject, _) => {
            "; a comma may be missing"
        }
        _ => "",
    }
}

/// A character in a message, made visible if it is not printable.
struct FoundCharacter(Option<char>);

impl fmt::Display for FoundCharacter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(character) if character.is_ascii_graphic() || character.is_alphanumeric() => {
                write!(formatter, "`{character}`")
            }
            Some(character) => write!(formatter, "U+{:04X}", u32::from(character)),
            None => formatter.write_str("the end"),
        }
    }
}

/// Maximum characters of a key that a message repeats.
const QUOTED_CHARS_MAX: usize = 64;

/// A key in a message: in quotes, on one line, and cut if long.
struct QuotedKey<'a>(&'a str);

impl fmt::Display for QuotedKey<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(QUOTED_CHARS_MAX) {
            Some((cut, _)) => write!(formatter, "{:?}…", &self.0[..cut]),
            None => write!(formatter, "{:?}", self.0),
        }
    }
}

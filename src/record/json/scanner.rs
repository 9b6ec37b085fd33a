//! The scanner: one pass over a JSON text, with the grammar as its control flow. It reads each byte
//! a bounded number of times, and compares a key with at most [`KEYS_COMPARED_MAX`] others before
//! it hashes them.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::record::json::error::{Expected, JsonErrorKind, NumberFault};
use crate::record::json::string::{hex4, is_same, plain_len, unescape};

/// Limits on a JSON text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JsonLimits {
    /// Maximum nesting of arrays and objects; a scalar has depth 0, `[]` has 1.
    ///
    /// The scanner does not need it, but clients whose parsers recurse do: `[[[[…` would overflow
    /// their stack.
    pub depth_max: usize,
}

/// In objects of up to this many keys each new key is compared with those before it; in larger ones
/// it is hashed.
///
/// 16 keys need at most 120 comparisons, most of them decided by length and last byte, which cost
/// less than 16 hashes.
const KEYS_COMPARED_MAX: usize = 16;

/// A refusal before its line and column are counted, so that only a refused text pays for it.
pub(super) struct ScanFault {
    /// Boxed, so that the result of every step fits into two registers.
    pub(super) kind: Box<JsonErrorKind>,
    pub(super) offset: usize,
}

pub(super) type CheckedJson<T = ()> = Result<T, ScanFault>;

#[derive(Clone, Copy, Eq, PartialEq)]
enum Container {
    Array,
    Object,
}

/// An array or object that is open at the scanner's position.
struct ContainerFrame<'a> {
    container: Container,
    /// The index of this object's first key in [`Scanner::keys`].
    keys_start: usize,
    /// All keys of this object, once there are more than [`KEYS_COMPARED_MAX`]. The standard hasher
    /// has a random key, so nobody can choose keys that collide.
    keys_hashed: Option<HashSet<Cow<'a, str>>>,
}

/// A state machine with its stack on the heap: a frame for each open array or object.
pub(super) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    position: usize,
    depth_max: usize,
    frames: Vec<ContainerFrame<'a>>,
    /// The keys of all open objects, innermost last; those in a hash set are not here.
    keys: Vec<Cow<'a, str>>,
    /// Everything before this offset is in `output` or was whitespace. Bytes are copied in pieces
    /// as long as possible, and not at all before the first whitespace.
    copied: usize,
    output: Vec<u8>,
}

impl<'a> Scanner<'a> {
    pub(super) fn scan(input: &'a [u8], limits: JsonLimits) -> CheckedJson<Cow<'a, [u8]>> {
        let text = std::str::from_utf8(input)
            .map_err(|error| fault(error.valid_up_to(), JsonErrorKind::InvalidUtf8))?;
        if text.starts_with('\u{FEFF}') {
            return Err(fault(0, JsonErrorKind::ByteOrderMark));
        }
        let mut scanner = Self {
            text,
            bytes: input,
            position: 0,
            depth_max: limits.depth_max,
            frames: Vec::new(),
            keys: Vec::with_capacity(KEYS_COMPARED_MAX),
            copied: 0,
            output: Vec::new(),
        };
        scanner.whitespace();
        if scanner.peek().is_none() {
            return Err(fault(0, JsonErrorKind::Empty));
        }
        loop {
            scanner.value()?;
            if !scanner.advance()? {
                if scanner.copied == 0 {
                    return Ok(Cow::Borrowed(input));
                }
                scanner.output.extend_from_slice(&input[scanner.copied..]);
                return Ok(Cow::Owned(scanner.output));
            }
        }
    }

    /// Enters the containers that begin here, then reads one scalar or empty container.
    fn value(&mut self) -> CheckedJson {
        loop {
            match self.peek() {
                Some(b'{') => {
                    self.enter(Container::Object)?;
                    if self.peek() == Some(b'}') {
                        return Ok(());
                    }
                    self.key(Expected::KeyOrEnd)?;
                }
                Some(b'[') => {
                    self.enter(Container::Array)?;
                    if self.peek() == Some(b']') {
                        return Ok(());
                    }
                }
                Some(b'"') => return self.string().map(drop),
                Some(b'-' | b'+' | b'.' | b'0'..=b'9') => return self.number(),
                Some(b'a'..=b'z' | b'A'..=b'Z') => return self.literal(),
                _ => return Err(self.unexpected(Expected::Value)),
            }
        }
    }

    /// Moves from the end of a value or of an empty container to the start of the next value;
    /// `false` at the end of the text.
    fn advance(&mut self) -> CheckedJson<bool> {
        loop {
            self.whitespace();
            let Some(frame) = self.frames.last() else {
                return match self.peek() {
                    None => Ok(false),
                    Some(_) => Err(self.unexpected(Expected::End)),
                };
            };
            let (end, expected) = match frame.container {
                Container::Array => (b']', Expected::CommaOrEndOfArray),
                Container::Object => (b'}', Expected::CommaOrEndOfObject),
            };
            match self.peek() {
                Some(byte) if byte == end => self.leave(),
                Some(b',') => {
                    let comma = self.position;
                    self.step();
                    if self.peek() == Some(end) {
                        return Err(fault(comma, JsonErrorKind::TrailingComma));
                    }
                    if end == b'}' {
                        self.key(Expected::Key)?;
                    }
                    return Ok(true);
                }
                _ => return Err(self.unexpected(expected)),
            }
        }
    }

    fn enter(&mut self, container: Container) -> CheckedJson {
        if self.frames.len() >= self.depth_max {
            let depth_max = self.depth_max;
            return Err(fault(self.position, JsonErrorKind::TooDeep { depth_max }));
        }
        let keys_start = self.keys.len();
        self.frames.push(ContainerFrame { container, keys_start, keys_hashed: None });
        self.step();
        Ok(())
    }

    fn leave(&mut self) {
        let frame = self.frames.pop().expect("only an open container has an end");
        self.keys.truncate(frame.keys_start);
        self.position += 1;
    }

    /// Reads a key and its colon, up to the start of the value.
    fn key(&mut self, expected: Expected) -> CheckedJson {
        let start = self.position;
        if self.peek() != Some(b'"') {
            return Err(self.unexpected(expected));
        }
        let is_escaped = self.string()?;
        let raw = &self.text[start + 1..self.position - 1];
        let key = if is_escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) };
        self.add_key(key, start)?;
        self.whitespace();
        if self.peek() != Some(b':') {
            return Err(self.unexpected(Expected::Colon));
        }
        self.step();
        Ok(())
    }

    /// Adds a key to the innermost object; refuses one that it already has.
    fn add_key(&mut self, key: Cow<'a, str>, offset: usize) -> CheckedJson {
        let frame = self.frames.last_mut().expect("a key is only read inside an object");
        if let Some(hashed) = &mut frame.keys_hashed {
            if let Some(key) = hashed.replace(key) {
                return Err(fault(offset, JsonErrorKind::DuplicateKey(key.into_owned())));
            }
            return Ok(());
        }
        let compared = &self.keys[frame.keys_start..];
        if compared.iter().any(|other| is_same(other, &key)) {
            return Err(fault(offset, JsonErrorKind::DuplicateKey(key.into_owned())));
        }
        let is_full = compared.len() == KEYS_COMPARED_MAX;
        self.keys.push(key);
        if is_full {
            frame.keys_hashed = Some(self.keys.drain(frame.keys_start..).collect());
        }
        Ok(())
    }

    /// Reads a string with both quotes; true if it contains an escape.
    fn string(&mut self) -> CheckedJson<bool> {
        let start = self.position;
        self.position += 1;
        let mut is_escaped = false;
        loop {
            self.position += plain_len(&self.bytes[self.position..]);
            match self.peek() {
                Some(b'"') => {
                    self.position += 1;
                    return Ok(is_escaped);
                }
                Some(b'\\') => {
                    is_escaped = true;
                    self.escape()?;
                }
                Some(control) => {
                    let kind = JsonErrorKind::ControlCharacter(char::from(control));
                    return Err(fault(self.position, kind));
                }
                None => return Err(fault(start, JsonErrorKind::UnterminatedString)),
            }
        }
    }

    fn escape(&mut self) -> CheckedJson {
        let start = self.position;
        let rest = &self.bytes[start + 1..];
        self.position += match rest.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => match (hex4(&rest[1..]), rest.get(5..7)) {
                (None, _) => return Err(fault(start, JsonErrorKind::InvalidUnicodeEscape)),
                (Some(0xD800..=0xDBFF), Some(br"\u"))
                    if matches!(hex4(&rest[7..]), Some(0xDC00..=0xDFFF)) =>
                {
                    12
                }
                (Some(unit @ 0xD800..=0xDFFF), _) => {
                    return Err(fault(start, JsonErrorKind::LoneSurrogate(unit)));
                }
                (Some(_), _) => 6,
            },
            _ => {
                let found = self.text[start + 1..].chars().next();
                return Err(fault(start, JsonErrorKind::InvalidEscape(found)));
            }
        };
        Ok(())
    }

    /// Reads `-? (0 | [1-9][0-9]*) (\. [0-9]+)? ([eE] [+-]? [0-9]+)?`.
    fn number(&mut self) -> CheckedJson {
        let start = self.position;
        let number_fault = |number| Err(fault(start, JsonErrorKind::InvalidNumber(number)));
        match self.peek() {
            Some(b'+') => return number_fault(NumberFault::LeadingPlus),
            Some(b'-') => self.position += 1,
            _ => {}
        }
        let is_zero_first = self.peek() == Some(b'0');
        match self.digits() {
            0 => return number_fault(NumberFault::NoIntegerDigit),
            2.. if is_zero_first => return number_fault(NumberFault::LeadingZero),
            _ => {}
        }
        if self.peek() == Some(b'.') {
            self.position += 1;
            if self.digits() == 0 {
                return number_fault(NumberFault::NoFractionDigit);
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.position += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.position += 1;
            }
            if self.digits() == 0 {
                return number_fault(NumberFault::NoExponentDigit);
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let rest = &self.bytes[self.position..];
        let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.position += len;
        len
    }

    fn literal(&mut self) -> CheckedJson {
        let rest = &self.bytes[self.position..];
        let is_in_word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
        // Cut, so that a refusal never repeats a megabyte of letters; every literal is shorter.
        let len = rest.iter().take(WORD_BYTES_MAX).take_while(is_in_word).count();
        match &rest[..len] {
            b"true" | b"false" | b"null" => {
                self.position += len;
                Ok(())
            }
            word => {
                let word = word.iter().copied().map(char::from).collect();
                Err(fault(self.position, JsonErrorKind::UnknownWord(word)))
            }
        }
    }

    /// Skips the byte here and the whitespace after it.
    fn step(&mut self) {
        self.position += 1;
        self.whitespace();
    }

    /// Skips whitespace; if there is any, copies the bytes before it to the output.
    fn whitespace(&mut self) {
        if self.peek().is_none_or(|byte| byte > b' ') {
            return;
        }
        let rest = &self.bytes[self.position..];
        let is_whitespace = |byte: &&u8| matches!(**byte, b' ' | b'\t' | b'\n' | b'\r');
        let len = rest.iter().take_while(is_whitespace).count();
        if len > 0 {
            if self.copied == 0 {
                self.output.reserve_exact(self.bytes.len() - len);
            }
            self.output.extend_from_slice(&self.bytes[self.copied..self.position]);
            self.position += len;
            self.copied = self.position;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    fn unexpected(&self, expected: Expected) -> ScanFault {
        let found = self.text[self.position..].chars().next();
        fault(self.position, JsonErrorKind::Unexpected { expected, found })
    }
}

/// Maximum bytes of an unknown word that an error repeats.
const WORD_BYTES_MAX: usize = 24;

#[cold]
fn fault(offset: usize, kind: JsonErrorKind) -> ScanFault {
    ScanFault { kind: Box::new(kind), offset }
}

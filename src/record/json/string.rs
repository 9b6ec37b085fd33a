//! The inside of strings: where they are plain, what escapes mean, when two keys are one.
//!
//! **Owns** the arithmetic on bytes between quotes.
//!
//! **Promises** no allocation but for the meaning of a key that holds an escape.
//!
//! **Does not** refuse anything: the scanner does.

/// Whether two keys are equal. Most keys of one object differ in length or at the end, which is
/// cheaper to see than to call a comparison of memory.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.as_bytes().last() == other.as_bytes().last() && one == other
}

/// How many bytes at the front of `bytes` are neither `"`, `\` nor a control character.
///
/// Eight bytes a step, in arithmetic on one word (the "haszero" of Hacker's Delight, 6-1): each
/// test sets the high bit of a byte that matches. A borrow can mark bytes behind the first match
/// wrongly, never before it, and only the first is used.
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    const FIRST_PRINTABLE: u64 = ONES * 0x20;
    const QUOTES: u64 = ONES * b'"' as u64;
    const BACKSLASHES: u64 = ONES * b'\\' as u64;

    let mut len = 0;
    while let Some(chunk) = bytes[len..].first_chunk() {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(FIRST_PRINTABLE) & !word;
        let quote = (word ^ QUOTES).wrapping_sub(ONES) & !(word ^ QUOTES);
        let backslash = (word ^ BACKSLASHES).wrapping_sub(ONES) & !(word ^ BACKSLASHES);
        let special = (control | quote | backslash) & HIGHS;
        if special != 0 {
            return len + special.trailing_zeros() as usize / 8;
        }
        len += 8;
    }
    let is_plain = |byte: &&u8| !matches!(**byte, b'"' | b'\\' | 0..0x20);
    len + bytes[len..].iter().take_while(is_plain).count()
}

/// The four hexadecimal digits at the front of `bytes`.
pub(super) fn hex4(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk::<4>()?.iter().try_fold(0, |unit, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).expect("a hexadecimal digit is at most 15"))
    })
}

/// What a key means; `raw` is what stands between the quotes and was checked by the scanner.
pub(super) fn unescape(raw: &str) -> String {
    let mut key = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        key.push_str(plain);
        let (character, len) = match escape.as_bytes()[0] {
            b'b' => ('\u{8}', 1),
            b'f' => ('\u{C}', 1),
            b'n' => ('\n', 1),
            b'r' => ('\r', 1),
            b't' => ('\t', 1),
            b'u' => unescape_unicode(escape.as_bytes()),
            itself => (char::from(itself), 1),
        };
        key.push(character);
        rest = &escape[len..];
    }
    key.push_str(rest);
    key
}

/// The character of `uXXXX` or `uXXXX\uXXXX`, and how many bytes that is.
fn unescape_unicode(escape: &[u8]) -> (char, usize) {
    let unit = |at: usize| escape.get(at..).and_then(hex4);
    let units = [unit(1), unit(7)].into_iter().flatten();
    let character = char::decode_utf16(units).next();
    let character = character.and_then(Result::ok).expect("the scanner refused lone surrogates");
    (character, if character.len_utf16() == 2 { 11 } else { 5 })
}

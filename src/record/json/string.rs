//! The contents of strings: finding special bytes, unescaping, and comparing keys. Only a key with
//! an escape allocates; refusals are the scanner's.

/// Whether two keys are equal. Most keys of one object differ in length or last byte, which is
/// cheaper to check than calling a memory comparison.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.as_bytes().last() == other.as_bytes().last() && one == other
}

/// Number of bytes at the front of `bytes` that are neither `"`, `\` nor a control character.
///
/// Tests eight bytes at once with arithmetic on one word (the "haszero" of Hacker's Delight, 6-1):
/// each test sets the high bit of a matching byte. A borrow can set wrong bits after the first
/// match but never before it, and only the first is used.
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

/// Unescapes a key; `raw` is the text between the quotes, which the scanner has checked.
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

/// The character of `uXXXX` or `uXXXX\uXXXX`, and the length of the escape in bytes.
fn unescape_unicode(escape: &[u8]) -> (char, usize) {
    let unit = |at: usize| escape.get(at..).and_then(hex4);
    let units = [unit(1), unit(7)].into_iter().flatten();
    let character = char::decode_utf16(units).next();
    let character = character.and_then(Result::ok).expect("the scanner refused lone surrogates");
    (character, if character.len_utf16() == 2 { 11 } else { 5 })
}

//! Lower-case hexadecimal, in which digests and salts are shown.

/// Appends the digits of `bytes`.
pub(crate) fn push_hex(out: &mut String, bytes: &[u8]) {
    out.extend(hex_digits(bytes).map(char::from));
}

/// The digits of `bytes` as ASCII.
pub(super) fn hex_digits(bytes: &[u8]) -> impl Iterator<Item = u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| DIGITS[usize::from(half)];
    bytes.iter().flat_map(move |byte| [digit(byte >> 4), digit(byte & 15)])
}

//! Fixed-size fields of encoded bytes.

/// The field of `N` bytes at `at`.
///
/// # Panics
/// If `bytes` ends before the field does.
#[must_use]
pub fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

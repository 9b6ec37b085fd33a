//! Parses and shows the values of settings. Errors say what to write.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};

use crate::config::error::ValueError;

const SUFFIXES: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// The shortest duration that a setting accepts, so that tests need not wait.
const SECONDS_MIN: Duration = Duration::from_millis(10);

/// A whole number in decimal digits.
pub(super) fn number<T: TryFrom<u64>>(
    text: &str,
    range: RangeInclusive<u64>,
) -> Result<T, ValueError> {
    let parsed = digits(text.trim()).filter(|number| range.contains(number));
    parsed.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
        ValueError::new(format!("write a whole number from {} to {}", range.start(), range.end()))
    })
}

/// A whole number from 1 to `max`.
pub(super) fn positive(text: &str, max: u64) -> Result<NonZeroUsize, ValueError> {
    number::<usize>(text, 1..=max)
        .map(|number| NonZeroUsize::new(number).expect("the range starts at 1"))
}

/// A number of bytes, optionally with a KiB, MiB or GiB suffix.
pub(super) fn bytes<T: TryFrom<u64>>(
    text: &str,
    range: RangeInclusive<u64>,
) -> Result<T, ValueError> {
    let parsed = parse_bytes(text.trim()).filter(|bytes| range.contains(bytes));
    parsed.and_then(|bytes| T::try_from(bytes).ok()).ok_or_else(|| {
        let (min, max) = (show_bytes(*range.start()), show_bytes(*range.end()));
        ValueError::new(format!(
            "write a number of bytes from {min} to {max}, optionally with a KiB, MiB or GiB suffix"
        ))
    })
}

/// Seconds, with up to three decimals.
pub(super) fn seconds(text: &str, max: u64) -> Result<Duration, ValueError> {
    let range = SECONDS_MIN..=Duration::from_secs(max);
    parse_seconds(text.trim()).filter(|time| range.contains(time)).ok_or_else(|| {
        let min = show_seconds(SECONDS_MIN);
        ValueError::new(format!("write a number of seconds from {min} to {max}, such as 15 or 0.5"))
    })
}

/// `true` or `false`.
pub(super) fn switch(text: &str) -> Result<bool, ValueError> {
    one_of(text, &[("true", true), ("false", false)])
}

/// One of the given words, in any case.
pub(super) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, ValueError> {
    let text = text.trim();
    words.iter().find(|(word, _)| text.eq_ignore_ascii_case(word)).map(|row| row.1).ok_or_else(
        || {
            let names: Vec<_> = words.iter().map(|row| row.0).collect();
            ValueError::new(format!("write {}", names.join(" or ")))
        },
    )
}

/// A filter in the syntax of `tracing_subscriber`.
pub(super) fn tracing_filter(text: &str) -> Result<String, ValueError> {
    let text = text.trim();
    // A bare word that is not a level is read as a target, so a misspelt level would log nothing.
    let misspelt = !text.contains('[')
        && text
            .split(',')
            .map(str::trim)
            .any(|directive| !directive.contains('=') && directive.parse::<LevelFilter>().is_err());
    if text.is_empty() || misspelt || EnvFilter::builder().parse(text).is_err() {
        return Err(ValueError::new(
            "write error, warn, info, debug, trace or off, or comma-separated target=level, such \
             as warn,broker=debug",
        ));
    }
    Ok(text.to_owned())
}

/// Shows the largest unit that is exact: `4MiB`, `1500`.
pub(super) fn show_bytes(bytes: u64) -> String {
    let exact = SUFFIXES.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match exact {
        Some((suffix, unit)) => format!("{}{suffix}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// Shows whole seconds, or three decimals.
pub(super) fn show_seconds(time: Duration) -> String {
    match time.subsec_millis() {
        0 => time.as_secs().to_string(),
        millis => format!("{}.{millis:03}", time.as_secs()),
    }
}

fn digits(text: &str) -> Option<u64> {
    // `u64::from_str` accepts a plus sign.
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn parse_bytes(text: &str) -> Option<u64> {
    for (suffix, unit) in SUFFIXES {
        let Some(at) = text.len().checked_sub(suffix.len()) else { continue };
        if text.is_char_boundary(at) && text[at..].eq_ignore_ascii_case(suffix) {
            return digits(text[..at].trim_end())?.checked_mul(unit);
        }
    }
    digits(text)
}

fn parse_seconds(text: &str) -> Option<Duration> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let scale = 10_u64.pow(3_u32.checked_sub(u32::try_from(decimals.len()).ok()?)?);
    let millis = digits(decimals)? * scale;
    digits(whole)?.checked_mul(1_000)?.checked_add(millis).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_accept_plain_numbers_and_binary_suffixes() {
        let parsed = |text| bytes::<u64>(text, 1..=1 << 40).ok();
        assert_eq!(parsed("1048576"), Some(1 << 20));
        assert_eq!(parsed("4MiB"), Some(4 << 20));
        assert_eq!(parsed(" 64 kib "), Some(64 << 10));
        assert_eq!(parsed("2GiB"), Some(2 << 30));
        for refused in
            ["", "4MB", "4M", "-1", "+1", "1.5MiB", "MiB", "é", "iB", "0", "99999999999999999GiB"]
        {
            assert_eq!(parsed(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn bytes_are_shown_in_the_largest_exact_unit() {
        for (bytes, text) in [(0, "0"), (1_500, "1500"), (1 << 10, "1KiB"), (5 << 20, "5MiB")] {
            assert_eq!(show_bytes(bytes), text);
        }
        assert_eq!(show_bytes((1 << 20) + 1), "1048577");
    }

    #[test]
    fn seconds_accept_up_to_three_decimals() {
        let parsed = |text| seconds(text, 3_600).ok();
        assert_eq!(parsed("15"), Some(Duration::from_secs(15)));
        assert_eq!(parsed("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(parsed("1.025"), Some(Duration::from_millis(1_025)));
        for refused in ["", ".5", "1.", "15s", "-1", "0", "0.001", "1.0001", "3601", "1e3", "NaN"] {
            assert_eq!(parsed(refused), None, "{refused:?}");
        }
        assert_eq!(show_seconds(Duration::from_millis(1_025)), "1.025");
        assert_eq!(show_seconds(Duration::from_secs(5)), "5");
    }

    #[test]
    fn misspelt_level_is_refused_instead_of_read_as_a_target() {
        for accepted in ["info", "OFF", "warn,broker=debug", "broker::http=trace", "[insert]=debug"]
        {
            assert!(tracing_filter(accepted).is_ok(), "{accepted:?}");
        }
        for refused in ["inof", "warn,brokr", "broker=loud", "=", ""] {
            assert!(tracing_filter(refused).is_err(), "{refused:?}");
        }
    }
}

//! Timestamps of records: UTC, whole milliseconds, RFC 3339 on the wire.

use std::fmt;
use std::time::SystemTime;

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// 9999-12-31T23:59:59.999Z: RFC 3339 cannot express anything later.
const MILLIS_MAX: u64 = 253_402_300_799_999;

#[cfg(test)]
thread_local! {
    /// The time of this thread's clock, if a test has set it.
    static CLOCK: std::cell::Cell<Option<Timestamp>> = const { std::cell::Cell::new(None) };
}

impl Timestamp {
    /// Sets this thread's clock, until it is set again.
    #[cfg(test)]
    pub(crate) fn set_clock(time: Option<Self>) {
        CLOCK.set(time);
    }

    /// From milliseconds since 1970; a time after the year 9999 becomes its last millisecond.
    #[must_use]
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.min(MILLIS_MAX))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn millis(self) -> u64 {
        self.0
    }

    /// The current time; a clock before 1970 reads as 1970.
    #[must_use]
    pub fn now() -> Self {
        #[cfg(test)]
        if let Some(time) = CLOCK.get() {
            return time;
        }
        // `Utc::now` panics before 1970.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::from_millis(u64::try_from(since.as_millis()).unwrap_or(MILLIS_MAX))
    }

    /// Parses RFC 3339 with any offset; a fraction of a millisecond is cut off.
    ///
    /// # Errors
    /// The parser's message when `text` is not an RFC 3339 time, or a sentence when it is before
    /// 1970.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse_rfc3339(text).and_then(|time| from_signed(time.timestamp_millis()))
    }

    /// Parses RFC 3339 as a bound: a fraction of a millisecond is rounded up, so that no record
    /// before an inclusive lower bound matches, and every record before an exclusive upper one
    /// does.
    ///
    /// # Errors
    /// As [`Timestamp::parse`].
    pub fn parse_bound(text: &str) -> Result<Self, String> {
        let time = parse_rfc3339(text)?;
        let finer = i64::from(time.timestamp_subsec_nanos() % 1_000_000 != 0);
        from_signed(time.timestamp_millis() + finer)
    }
}

fn parse_rfc3339(text: &str) -> Result<DateTime<chrono::FixedOffset>, String> {
    DateTime::parse_from_rfc3339(text).map_err(|error| error.to_string())
}

fn from_signed(millis: i64) -> Result<Timestamp, String> {
    let millis = u64::try_from(millis).map_err(|_| "the time is before 1970".to_owned())?;
    Ok(Timestamp::from_millis(millis))
}

fn ascii(text: &[u8]) -> &str {
    std::str::from_utf8(text).expect("digits and letters are ASCII")
}

impl fmt::Display for Timestamp {
    /// `2026-11-21T10:00:00.123Z`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(ascii(&self.text()))
    }
}

impl Timestamp {
    /// Appends the text that `Display` prints.
    pub(super) fn push_to(self, out: &mut String) {
        out.push_str(ascii(&self.text()));
    }

    /// Formats without the general formatter, because every record needs it.
    fn text(self) -> [u8; 24] {
        let millis = i64::try_from(self.0).expect("timestamps end with the year 9999");
        let time = DateTime::<Utc>::from_timestamp_millis(millis)
            .expect("timestamps end with the year 9999");
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |at: usize, len: usize, mut number: u32| {
            for digit in text[at..at + len].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        put(0, 4, time.year().unsigned_abs());
        put(5, 2, time.month());
        put(8, 2, time.day());
        put(11, 2, time.hour());
        put(14, 2, time.minute());
        put(17, 2, time.second());
        put(20, 3, time.timestamp_subsec_millis());
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn timestamp_round_trips(millis in 0..=MILLIS_MAX) {
            let time = Timestamp::from_millis(millis);
            prop_assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
            let by_chrono = DateTime::<Utc>::from_timestamp_millis(millis.cast_signed()).unwrap();
            let by_chrono = by_chrono.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            prop_assert_eq!(time.to_string(), by_chrono);
        }
    }

    #[test]
    fn offsets_and_sub_millisecond_fractions_are_parsed() {
        let text = "1970-01-01T01:00:00.0000001+01:00";
        assert_eq!(Timestamp::parse(text).unwrap().millis(), 0);
        assert_eq!(Timestamp::parse_bound(text).unwrap().millis(), 1);
        assert!(Timestamp::parse("1969-12-31T23:59:59Z").is_err());
        assert!(Timestamp::parse("yesterday").is_err());
    }

    #[test]
    fn latest_timestamp_is_printable() {
        assert_eq!(Timestamp::from_millis(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }
}

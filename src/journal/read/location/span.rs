//! Reads neighbouring records of a segment with one call.

use std::ops::Range;

use crate::journal::error::JournalError;

/// Maximum gap between records that are read together: reading it costs less than a second call.
const READ_AT_ONCE_BYTES: u64 = 8 << 10;
/// Maximum bytes read together: a call costs 1 us, and this many bytes 25 us.
const SPAN_BYTES_MAX: u64 = 256 << 10;

/// Buffered bytes of a record and of its neighbours.
#[derive(Default)]
pub struct Span {
    at: u64,
    bytes: Vec<u8>,
}

impl Span {
    /// The bytes of the first range, which `read_at` reads. Ranges that follow it closely are read
    /// with it. All calls must be for the same segment.
    pub fn read(
        &mut self,
        mut ranges: impl Iterator<Item = Range<u64>>,
        read_at: impl Fn(u64, &mut [u8]) -> Result<(), JournalError>,
    ) -> Result<&[u8], JournalError> {
        let wanted = ranges.next().expect("there is a range to read");
        let len = (wanted.end - wanted.start) as usize;
        if !self.contains(&wanted) {
            self.at = wanted.start;
            // It fits: the range is within a segment.
            self.bytes.resize((end_of(&wanted, ranges) - wanted.start) as usize, 0);
            if read_at(self.at, &mut self.bytes).is_err() {
                // Only a neighbour or a gap may be unreadable.
                self.bytes.truncate(len);
                read_at(self.at, &mut self.bytes)?;
            }
        }
        let from = (wanted.start - self.at) as usize;
        Ok(&self.bytes[from..from + len])
    }

    fn contains(&self, wanted: &Range<u64>) -> bool {
        let end = self.at + self.bytes.len() as u64;
        self.at <= wanted.start && wanted.end <= end
    }
}

/// The end of the last range that is read together with `wanted`.
fn end_of(wanted: &Range<u64>, following: impl Iterator<Item = Range<u64>>) -> u64 {
    let mut end = wanted.end;
    for next in following {
        let is_near = (wanted.start..=end + READ_AT_ONCE_BYTES).contains(&next.start)
            && next.end - wanted.start <= SPAN_BYTES_MAX;
        if !is_near {
            break;
        }
        end = end.max(next.end);
    }
    end
}

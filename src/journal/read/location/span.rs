//! Bytes of one segment that are read at once.

use std::ops::Range;

use crate::journal::error::JournalError;
use crate::journal::read::location::OpenLocation;

/// What lies no further apart is read at once: what is between costs less than a second call.
const READ_AT_ONCE_BYTES: u64 = 8 << 10;
/// Neighbours are read at once up to here: a call costs 1 us, and so many bytes 25.
const SPAN_BYTES_MAX: u64 = 256 << 10;

/// A record's bytes, and those of its neighbours.
#[derive(Default)]
pub struct Span {
    at: u64,
    bytes: Vec<u8>,
}

impl Span {
    /// The bytes of the first of these ranges, which is the spot's; those that follow it closely
    /// are read with it. All are of one segment, whenever this is called.
    pub fn read(
        &mut self,
        location: &OpenLocation<'_>,
        mut ranges: impl Iterator<Item = Range<u64>>,
    ) -> Result<&[u8], JournalError> {
        let wanted = ranges.next().expect("the first is the spot's");
        let len = (wanted.end - wanted.start) as usize;
        if !self.contains(&wanted) {
            self.at = wanted.start;
            // It lies within a segment, and so within memory.
            self.bytes.resize((end_of(&wanted, ranges) - wanted.start) as usize, 0);
            if location.read(self.at, &mut self.bytes).is_err() {
                // It may be a neighbour's, or what lies between.
                self.bytes.truncate(len);
                location.read(self.at, &mut self.bytes)?;
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

/// Where the last of those ends that are read with the one that is wanted.
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

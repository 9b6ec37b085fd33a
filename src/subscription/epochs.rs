//! The epochs of a log: which open issued a cursor, and how far the log reached then.
//!
//! A rolled-back or foreign copy lacks the epochs of later opens, so it never accepts a cursor that
//! they issued.

use serde::{Deserialize, Serialize};

use crate::record::{Cursor, Epoch, Name, Seq, View};

/// The suffix of `broker:open`, the system record that every open of a log appends first.
const OPEN: &str = "open";

/// Every open of the log, in order.
#[derive(Clone, Debug, Default)]
pub struct Epochs {
    opens: Vec<(Epoch, Seq)>,
}

/// The data of an open's record.
#[derive(Debug, Deserialize, Serialize)]
struct OpenData {
    epoch: String,
}

/// The name of the record that an open appends.
#[must_use]
pub fn open_name() -> Name {
    Name::system(OPEN)
}

/// The data of the record that an open appends.
#[must_use]
pub fn open_data(epoch: Epoch) -> Vec<u8> {
    serde_json::to_vec(&OpenData { epoch: epoch.to_string() })
        .expect("a struct of strings serialises")
}

impl Epochs {
    /// Adds an open's record, while the log is replayed or when it was just appended.
    ///
    /// # Errors
    /// A sentence, when the data names no epoch.
    pub fn restore(&mut self, seq: Seq, data: &[u8]) -> Result<(), String> {
        let open: OpenData = serde_json::from_slice(data).map_err(|error| error.to_string())?;
        let epoch = open.epoch.parse().map_err(|_| format!("no epoch: {}", open.epoch))?;
        self.opens.push((epoch, seq));
        Ok(())
    }

    /// The position of a valid cursor: its epoch is known, its seq is not beyond what the log had
    /// in that epoch, and it was issued for the same view.
    #[must_use]
    pub fn position(&self, cursor: Cursor, view: View, head: Seq) -> Option<Seq> {
        let index = self.opens.iter().position(|(epoch, _)| *epoch == cursor.epoch)?;
        let last = self.opens.get(index + 1).map_or(head, |(_, next_open)| next_open - 1);
        (cursor.view == view && cursor.seq <= last).then_some(cursor.seq)
    }
}

/// Accepted data restores one epoch, which round-trips through the data of an open; refused data
/// changes nothing.
#[cfg(any(test, fuzzing))]
pub fn fuzz(data: &[u8]) {
    let mut epochs = Epochs::default();
    if epochs.restore(1, data).is_err() {
        return assert!(epochs.opens.is_empty());
    }
    let [(epoch, 1)] = epochs.opens[..] else { panic!("one open: {epochs:?}") };
    let mut again = Epochs::default();
    assert_eq!(again.restore(1, &open_data(epoch)), Ok(()));
    assert_eq!(again.opens, epochs.opens);
    let cursor = Cursor { epoch, seq: 1, view: View(7) };
    assert_eq!(epochs.position(cursor, View(7), 1), Some(1), "cursors of that open are valid");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(epoch: u64, seq: Seq, view: u64) -> Cursor {
        Cursor { epoch: Epoch(epoch), seq, view: View(view) }
    }

    #[test]
    fn cursor_is_valid_only_within_its_epoch_and_view() {
        let mut epochs = Epochs::default();
        epochs.restore(1, &open_data(Epoch(10))).unwrap();
        epochs.restore(5, &open_data(Epoch(20))).unwrap();
        let position = |cursor| epochs.position(cursor, View(7), 8);
        assert_eq!(position(cursor(10, 4, 7)), Some(4));
        assert_eq!(position(cursor(10, 5, 7)), None, "the first open never had seq 5");
        assert_eq!(position(cursor(20, 8, 7)), Some(8));
        assert_eq!(position(cursor(20, 2, 7)), Some(2), "replayed during the second open");
        assert_eq!(position(cursor(20, 9, 7)), None, "past the head");
        assert_eq!(position(cursor(30, 2, 7)), None, "a foreign epoch");
        assert_eq!(position(cursor(20, 8, 6)), None, "another view");
        assert_eq!(position(cursor(20, 0, 7)), Some(0), "after a reset");
    }
}

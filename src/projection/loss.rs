//! A loss that was found when it was too late to refuse the start: kept, so that no later start
//! passes over it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::record::Seq;

/// Beside the store, which is the proof; for whoever opens the directory to read.
const NAME: &str = "loss";

/// What is said of it.
pub(super) fn sentence(applied: Seq, head: Seq) -> String {
    format!(
        "the history was applied up to seq {applied}, and the log ended with seq {head}: records \
         that were acknowledged are missing from the log"
    )
}

/// Writes it down, to stay.
pub(super) fn write(dir: &Path, applied: Seq, head: Seq) -> io::Result<()> {
    let mut file = File::create(dir.join(NAME))?;
    writeln!(file, "{}", sentence(applied, head))?;
    file.sync_all()?;
    File::open(dir)?.sync_all()
}

/// The file of a loss that was found in `dir` before, and what it says.
#[must_use]
pub fn read(dir: &Path) -> Option<(PathBuf, String)> {
    let path = dir.join(NAME);
    let said = fs::read_to_string(&path).ok()?;
    let said = said.lines().next().unwrap_or("the log has lost records").to_owned();
    Some((path, said))
}

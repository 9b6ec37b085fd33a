//! A loss that was found when it was too late to refuse the start: kept, so that no later start
//! passes over it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::record::Seq;

/// Beside the store, which is the proof; for whoever opens the directory to read.
const NAME: &str = "loss";

/// What is said of it, of a log that ended with `head`.
pub(super) fn sentence(applied: Seq, head: Seq) -> String {
    let log = match head < applied {
        true => format!("the log ended with seq {head}"),
        false => "the log has other records there".to_owned(),
    };
    format!(
        "the history was applied up to seq {applied}, and {log}: records that were acknowledged \
         are missing from the log"
    )
}

/// Writes it down, to stay.
pub(super) fn write(dir: &Path, applied: Seq, head: Seq) -> io::Result<()> {
    let mut file = File::create(dir.join(NAME))?;
    writeln!(file, "{}", sentence(applied, head))?;
    file.sync_all()?;
    File::open(dir)?.sync_all()
}

/// The file of a loss that was found in `dir` before, and what it says; what cannot be read says it
/// too.
#[must_use]
pub fn read(dir: &Path) -> Option<(PathBuf, String)> {
    let path = dir.join(NAME);
    let said = match fs::read(&path) {
        Ok(said) => String::from_utf8_lossy(&said).lines().next().map(str::to_owned),
        Err(error) if is_absent(&error) => return None,
        Err(_) => None,
    };
    Some((path, said.unwrap_or_else(|| "the log has lost records".to_owned())))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_cannot_be_read_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let said = |dir: &Path| read(dir).map(|(_, said)| said);
        assert_eq!(said(dir.path()), None);
        assert_eq!(said(&dir.path().join("none")), None);
        write(dir.path(), 5, 3).unwrap();
        assert_eq!(said(dir.path()), Some(sentence(5, 3)));
        assert_eq!(said(&dir.path().join(NAME)), None, "a file in the directory's place");
        for bytes in [&b""[..], &[0xff]] {
            fs::write(dir.path().join(NAME), bytes).unwrap();
            assert!(said(dir.path()).is_some());
        }
    }
}

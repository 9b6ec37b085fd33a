//! A file that records a data loss found too late to refuse the start, so that every later start is
//! refused.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::journal::RESTORE;
use crate::record::Seq;

/// Next to the store, which is the evidence, where an operator sees it.
const FILE_NAME: &str = "loss";

/// An earlier process found that the log had lost records, after it had begun to serve.
#[derive(Debug, Error)]
#[error(
    "{finding}, as an earlier run recorded in {}; {RESTORE}; or, if the log was put back whole, \
     remove that file; or move its directory away to continue without those records",
    file.display()
)]
pub struct DataLoss {
    /// What was found.
    pub finding: String,
    /// The file that records it.
    pub file: PathBuf,
}

/// Describes the data loss of a log that ended with `head`.
pub fn sentence(applied: Seq, head: Seq) -> String {
    let log = match head < applied {
        true => format!("the log ended with seq {head}"),
        false => "the log has other records there".to_owned(),
    };
    format!(
        "the history was applied up to seq {applied}, and {log}: records that were acknowledged \
         are missing from the log"
    )
}

/// Writes the file and syncs it.
pub fn write(dir: &Path, applied: Seq, head: Seq) -> io::Result<()> {
    let mut file = File::create(dir.join(FILE_NAME))?;
    writeln!(file, "{}", sentence(applied, head))?;
    file.sync_all()?;
    File::open(dir)?.sync_all()
}

/// Refuses a directory in which a data loss was recorded.
///
/// # Errors
/// [`DataLoss`], also when the file cannot be read.
pub fn refuse_data_loss(dir: &Path) -> Result<(), DataLoss> {
    let file = dir.join(FILE_NAME);
    let finding = match fs::read(&file) {
        Ok(finding) => String::from_utf8_lossy(&finding).lines().next().map(str::to_owned),
        Err(error) if is_absent(&error) => return Ok(()),
        Err(_) => None,
    };
    let finding = finding.unwrap_or_else(|| "the log has lost records".to_owned());
    Err(DataLoss { finding, file })
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_data_loss_file_counts_as_data_loss() {
        let dir = tempfile::tempdir().unwrap();
        let finding = |dir: &Path| refuse_data_loss(dir).err().map(|loss| loss.finding);
        assert_eq!(finding(dir.path()), None);
        assert_eq!(finding(&dir.path().join("none")), None);
        write(dir.path(), 5, 3).unwrap();
        assert_eq!(finding(dir.path()), Some(sentence(5, 3)));
        assert_eq!(finding(&dir.path().join(FILE_NAME)), None, "a file instead of the directory");
        for bytes in [&b""[..], &[0xff]] {
            fs::write(dir.path().join(FILE_NAME), bytes).unwrap();
            assert!(finding(dir.path()).is_some());
        }
    }
}

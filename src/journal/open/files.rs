//! Lists the files of a journal by kind.

use std::fs;
use std::path::{Path, PathBuf};

use crate::journal::error::{JournalError, io_error};
use crate::journal::format::segment;
use crate::journal::open::tail::is_cutting;
use crate::journal::write::preallocate;
use crate::record::Seq;

/// Former name of the snapshot, written by an earlier build and never read.
const FORMER_SNAPSHOT: &str = "checkpoint";

/// The files of a journal, by kind.
#[derive(Default)]
pub struct JournalFiles {
    /// First seq and path of each segment, in log order.
    pub segments: Vec<(Seq, PathBuf)>,
    /// Files that only a crash or an earlier build leaves behind.
    pub leftovers: Vec<PathBuf>,
    /// Quarantined tails that may still be in their segment.
    pub cutting: Vec<PathBuf>,
}

/// Lists a journal's directory; other files are ignored.
pub fn list_files(journal: &Path) -> Result<JournalFiles, JournalError> {
    let mut files = JournalFiles::default();
    for entry in fs::read_dir(journal).map_err(io_error("listing", journal))? {
        let entry = entry.map_err(io_error("listing", journal))?;
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if preallocate::is_leftover(&name) || name == FORMER_SNAPSHOT {
            files.leftovers.push(path);
        } else if is_cutting(&name) {
            files.cutting.push(path);
        } else if segment::is_segment(&name) {
            let Some(first_seq) = segment::first_seq(&name) else {
                let what = "the file name ends in .seg but states no seq".to_owned();
                let (offset, last_good_seq) = (0, 0);
                return Err(JournalError::Damage { file: path, offset, last_good_seq, what });
            };
            files.segments.push((first_seq, path));
        }
    }
    files.segments.sort();
    files.leftovers.sort();
    Ok(files)
}

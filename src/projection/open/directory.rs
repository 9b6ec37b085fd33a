//! Where the store is on disk, and how an invalid one is quarantined.
//!
//! ```text
//! projection/sled-3         the store in use: the highest number counts
//! projection/progress       the position that it had reached
//! projection/loss           shows that the log has lost records
//! projection.quarantined-1  a projection directory that was invalid; never deleted
//! ```
//!
//! Every rebuild takes a new number, because sled finds its snapshot and blob files by path: a
//! handle that does not close would otherwise write into the store that replaces it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const STORE_PREFIX: &str = "sled-";
const QUARANTINE_SUFFIX: &str = ".quarantined-";

/// The projection's directory and the number of the store in it.
pub struct StoreDirectory {
    path: PathBuf,
    generation: u64,
}

/// What the projection's directory holds.
pub enum DirectoryContents {
    /// Something other than a projection.
    Foreign,
    /// No directory, or an empty one.
    Nothing,
    /// A store.
    Store,
}

impl StoreDirectory {
    /// Looks at what is there, and writes nothing.
    pub fn inspect(path: &Path) -> (Self, DirectoryContents) {
        let (generation, contents) = match latest_generation(path) {
            Ok(Some(generation)) => (generation, DirectoryContents::Store),
            Ok(None) => (1, DirectoryContents::Nothing),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (1, DirectoryContents::Nothing)
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "not a projection");
                (1, DirectoryContents::Foreign)
            }
        };
        (Self { path: path.to_owned(), generation }, contents)
    }

    /// Path of the store, whether or not it exists.
    pub fn store(&self) -> PathBuf {
        self.path.join(format!("{STORE_PREFIX}{}", self.generation))
    }

    /// The projection's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number in the store's name.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Renames the directory, so that it is kept but not used, and takes the next number. Returns
    /// the new path, if there was anything to rename.
    pub fn quarantine(&mut self) -> io::Result<Option<PathBuf>> {
        self.generation += 1;
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        let mut kept_at = self.path.clone().into_os_string();
        let number =
            self.highest_quarantined()?.checked_add(1).ok_or(io::ErrorKind::AlreadyExists)?;
        kept_at.push(format!("{QUARANTINE_SUFFIX}{number}"));
        let kept_at = PathBuf::from(kept_at);
        fs::rename(&self.path, &kept_at)?;
        Ok(Some(kept_at))
    }

    /// Removes, as far as that works, a store that could not be created, and takes the next number.
    pub fn discard(&mut self) {
        if let Err(error) = fs::remove_dir_all(self.store()) {
            tracing::debug!(%error, "an unfinished store cannot be removed");
        }
        self.generation += 1;
    }

    /// The highest number among the quarantined directories.
    fn highest_quarantined(&self) -> io::Result<u64> {
        let mut prefix = self.path.file_name().map_or_else(OsString::new, OsString::from);
        prefix.push(QUARANTINE_SUFFIX);
        let prefix = prefix.to_string_lossy();
        let parent = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        highest(parent, &prefix).map(|(highest, _)| highest.unwrap_or(0))
    }
}

/// The number of the latest store; `None` in an empty directory.
fn latest_generation(path: &Path) -> io::Result<Option<u64>> {
    match highest(path, STORE_PREFIX)? {
        (None, others) if others > 0 => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "it holds files but no store"))
        }
        (generation, _) => Ok(generation),
    }
}

/// The highest number after `prefix` among the names in a directory, and the count of other names.
fn highest(path: &Path, prefix: &str) -> io::Result<(Option<u64>, usize)> {
    let (mut highest, mut others) = (None, 0);
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse().ok());
        others += usize::from(number.is_none());
        highest = highest.max(number);
    }
    Ok((highest, others))
}

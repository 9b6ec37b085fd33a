//! A temporary copy of files that must not be changed.

use std::fs;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::cli::failure::{Failure, io_failure};
use crate::config::temporary_dir;

/// A copy of a directory in the temporary directory; dropping it removes it.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Copies everything in `from`; the copy of a missing directory is empty.
    pub(super) fn copy_of(from: &Path) -> Result<Self, Failure> {
        let scratch = Self(temporary_dir().join(format!("broker-{}", Uuid::now_v7())));
        copy(from, scratch.path())?;
        Ok(scratch)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a temporary copy was left behind");
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir(to).map_err(io_failure("making", to))?;
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_failure("listing", from)(error)),
    };
    for entry in entries {
        let path = entry.map_err(io_failure("listing", from))?.path();
        let Some(name) = path.file_name() else { continue };
        let target = to.join(name);
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(io_failure(
                "copying the history to the temporary directory (set by TMPDIR) as",
                target,
            ))?;
        }
    }
    Ok(())
}

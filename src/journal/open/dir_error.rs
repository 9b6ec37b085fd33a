//! Errors of the system as errors of a data directory.

use std::io;
use std::path::Path;

use crate::journal::error::DirError;

/// For `map_err`: the error with advice on what to do about it, where that is known.
pub fn dir_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirError {
    use io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    let path = path.to_owned();
    move |source| match source.kind() {
        NotADirectory => DirError::NotDirectory { path },
        PermissionDenied | ReadOnlyFilesystem => DirError::Unwritable { path, source },
        _ => DirError::Io { path, doing, source },
    }
}
